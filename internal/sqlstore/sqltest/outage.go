package sqltest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
)

// proxy stands between a store and its server.
type proxy struct {
	testing.TB
	net.Listener
	server string

	mu    sync.Mutex
	conns map[net.Conn]bool
	hung  chan struct{} // closed while bytes may pass
}

func newProxy(t testing.TB, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{TB: t, Listener: l, server: server, conns: make(map[net.Conn]bool), hung: make(chan struct{})}
	close(p.hung)
	go p.serve()
	t.Cleanup(func() { _ = l.Close(); p.cut() })
	return p
}

func (p *proxy) serve() {
	for {
		client, err := p.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		go p.copy(server, client)
		go p.copy(client, server)
	}
}

func (p *proxy) copy(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		hung := p.hung
		p.mu.Unlock()
		<-hung
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut breaks all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

// hang lets nothing pass until the result is called.
func (p *proxy) hang() (resume func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	hung := make(chan struct{})
	p.hung = hung
	return func() { close(hung) }
}

// Outage tests what happens when a server on the network is not there for a
// while. Through changes the address in a DSN.
func (env *Env) Outage(t *testing.T, through func(dsn, addr string) (changed, server string)) {
	open := func(t *testing.T) (*Table, *proxy, session.Backend) {
		tab := env.New(t).Init()
		_, server := through(tab.Config.DSN, "")
		p := newProxy(t, server)
		tab.Config.DSN, _ = through(tab.Config.DSN, p.Addr().String())
		b := tab.Backend()
		tab.want(true)(b.Insert(ctx, "one", record("a", time.Minute)))
		tab.fillPool(b)
		return tab, p, b
	}
	t.Run("connections cut", func(t *testing.T) {
		t.Parallel()
		tab, p, b := open(t)
		for range 3 {
			p.cut()
			tab.fillPool(b)
			p.cut()
			time.Sleep(20 * time.Millisecond)
			tab.wantData(b, "one", "a")
			p.cut()
			tab.want(true)(b.Swap(ctx, "one", []byte("a"), record("b", time.Minute)))
			p.cut()
			tab.want(true)(b.Rename(ctx, "one", "two", []byte("b"), record("a", time.Minute)))
			p.cut()
			tab.want(true)(b.Rename(ctx, "two", "one", []byte("a"), record("a", time.Minute)))
		}
	})
	t.Run("connections cut in flight", func(t *testing.T) {
		t.Parallel()
		tab, p, b := open(t)
		stop := make(chan struct{})
		cutter := sync.WaitGroup{}
		cutter.Go(func() {
			for range 25 {
				time.Sleep(20 * time.Millisecond)
				p.cut()
			}
			close(stop)
		})
		tab.race(func(i int) (bool, error) {
			for {
				select {
				case <-stop:
					return true, nil
				default:
				}
				if _, found, err := b.Load(ctx, "one"); err != nil || !found {
					return false, fmt.Errorf("found: %t: %w", found, err)
				}
				if err := b.Extend(ctx, "one", time.Hour); err != nil {
					return false, err
				}
			}
		})
		cutter.Wait()
	})
	t.Run("server hangs", func(t *testing.T) {
		t.Parallel()
		tab, p, b := open(t)
		resume := p.hang()
		begun := time.Now()
		tab.race(func(int) (bool, error) {
			short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			defer cancel()
			_, _, err := b.Load(short, "one")
			if !errors.Is(err, context.DeadlineExceeded) {
				return false, fmt.Errorf("Load on a hung server: %w", err)
			}
			return true, nil
		})
		if d := time.Since(begun); d > 2*time.Second {
			t.Errorf("operations of 300 ms take %v", d)
		}
		resume()
		tab.race(func(int) (bool, error) {
			long, cancel := context.WithTimeout(ctx, 30*time.Second)
			defer cancel()
			_, found, err := b.Load(long, "one")
			return found, err
		})
		tab.wantData(b, "one", "a")
		tab.fillPool(b)
	})
	t.Run("deadline of the operation before", func(t *testing.T) {
		t.Parallel()
		tab, _, b := open(t)
		for range 3 {
			short, cancel := context.WithTimeout(ctx, 3*time.Second)
			tab.want(true)(b.Swap(short, "one", []byte("a"), record("a", time.Minute)))
			<-short.Done()
			cancel()
			tab.fillPool(b)
		}
	})
	t.Run("server hangs at start", func(t *testing.T) {
		t.Parallel()
		tab, p, _ := open(t)
		defer p.hang()()
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		_, _, err := tab.Dialect.Open(short, tab.Config)
		NoLeak(t, err, tab.Config.DSN)
	})
	t.Run("server gone", func(t *testing.T) {
		t.Parallel()
		tab, p, b := open(t)
		_ = p.Close()
		p.cut()
		_, _, err := b.Load(ctx, "one")
		NoLeak(t, err, p.Addr().String())
		if !strings.Contains(err.Error(), "refused") {
			t.Errorf("the error does not say what is wrong: %v", err)
		}
		l, err := net.Listen("tcp", p.Addr().String())
		tab.check(err)
		p.Listener = l
		go p.serve()
		tab.wantData(b, "one", "a")
	})
}

// fillPool makes a pool open all its connections.
func (tab *Table) fillPool(b session.Backend) {
	tab.Helper()
	tab.race(func(int) (bool, error) {
		for range 5 {
			if _, found, err := b.Load(ctx, "one"); err != nil || !found {
				return false, fmt.Errorf("found: %t: %w", found, err)
			}
		}
		return true, nil
	})
}

// BadDSNs opens DSNs that are no good, or lead nowhere, and looks for the secrets
// in the errors.
func (env *Env) BadDSNs(t *testing.T, dsns map[string]string, secrets ...string) {
	for dsn, want := range dsns {
		_, _, err := env.Dialect.Open(ctx, sqlstore.Config{DSN: dsn, InitTable: true})
		NoLeak(t, err, append(secrets, dsn)...)
		if err != nil && (!strings.HasPrefix(err.Error(), env.Dialect.Name+": ") || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: the error is %q, want %q in it", dsn, err, want)
		}
	}
}

// Core runs the tests that parameters of the DSN may break, with a pool of the
// store's own and with one that is shared.
func (env *Env) Core(t *testing.T, params string) {
	for name, test := range map[string]func(*Table){
		"operations": testOperations, "dead": testDead, "bytes": testBytes, "expired_at": testExpiredAt,
		"plain gob": testGob, "races": testRaces, "sweep": testSweep,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tab := env.New(t)
			tab.Config.DSN += params
			test(tab)
			if name == "races" || name == "sweep" {
				return
			}
			tab = env.New(t)
			tab.Config.DB = tab.Pool(tab.Config.DSN + params)
			test(tab)
		})
	}
}
