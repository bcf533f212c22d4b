package sqltest

import (
	"context"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/testing/tcpproxy"
)

// FuzzDSN opens DSNs that nobody would write. None may panic, and an error holds nothing
// but words of ours: names are those that BadParameter may return. No server is asked.
func (env *Env) FuzzDSN(f *testing.F, names []string, seeds ...string) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	d := env.Dialect
	words := slices.Concat(names, d.Phrases, slices.Collect(maps.Values(d.Parameters)))
	done, cancel := context.WithCancel(ctx)
	cancel()
	f.Fuzz(func(t *testing.T, dsn string) {
		_, _, err := d.Open(done, sqlstore.Config{DSN: dsn})
		if err == nil {
			t.Fatal("a connection without time for it")
		}
		text := err.Error()
		if text == "empty DSN" || text == d.Name+": connect: context canceled" {
			return
		}
		rest, ok := strings.CutPrefix(text, d.Name+": the DSN is not valid")
		if rest, panicked := strings.CutPrefix(rest, ": the driver panicked with a "); ok && panicked && !strings.Contains(rest, " ") {
			return
		}
		for rest != "" && ok {
			i := slices.IndexFunc(words, func(word string) bool {
				after, ok := strings.CutPrefix(rest, ": "+word)
				return ok && (after == "" || strings.HasPrefix(after, ": "))
			})
			if ok = i >= 0; ok {
				rest = strings.TrimPrefix(rest, ": "+words[i])
			}
		}
		if !ok {
			t.Errorf("the error has other words than ours: %s", text)
		}
	})
}

// Starting tests that a store waits for a server that is still starting, but not when the
// login is refused. NotReady is what a server does with a connection until it is ready.
func (env *Env) Starting(t *testing.T, through func(dsn, addr string) (changed, server string), notReady func(net.Conn), login func(dsn string) string) {
	open := func(dsn string) error {
		m, err := session.New(session.Options{Initer: env.Initer, Config: env.Config(sqlstore.Config{DSN: dsn})})
		if err == nil {
			err = m.Close()
		}
		return err
	}
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		dsn := env.DSN(t)
		_, server := through(dsn, "")
		p := tcpproxy.New(t, server, tcpproxy.Rules{})
		dsn, _ = through(dsn, p.Addr())
		p.Stop()
		time.AfterFunc(time.Second, func() { p.Start(t) })
		if err := open(dsn); err != nil {
			t.Error(err)
		}
	})
	t.Run("not ready", func(t *testing.T) {
		t.Parallel()
		dsn := env.DSN(t)
		_, server := through(dsn, "")
		addr, accepted := gate(t, server, 20, notReady) // more than the attempts on broken connections
		dsn, _ = through(dsn, addr)
		if err := open(dsn); err != nil {
			t.Error(err)
		}
		if n := accepted.Load(); n <= 20 {
			t.Errorf("the store has tried %d times, which cannot be enough", n)
		}
	})
	t.Run("wrong login", func(t *testing.T) {
		t.Parallel()
		dsn := env.DSN(t)
		_, server := through(dsn, "")
		addr, accepted := gate(t, server, 0, nil)
		dsn, _ = through(login(dsn), addr)
		err := open(dsn)
		NoLeak(t, err, dsn, server, addr)
		if n := accepted.Load(); n > 2 || !strings.Contains(err.Error(), "user or password: ") {
			t.Errorf("after %d tries: %v", n, err)
		}
	})
}

// gate passes connections on to a server, all but the first n.
func gate(t testing.TB, server string, n int64, refuse func(net.Conn)) (addr string, accepted *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	accepted = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if accepted.Add(1) <= n {
				go func() {
					refuse(c)
					_ = c.Close()
				}()
				continue
			}
			go pass(c, server)
		}
	}()
	return l.Addr().String(), accepted
}

func pass(c net.Conn, server string) {
	defer func() { _ = c.Close() }()
	s, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer func() { _ = s.Close() }()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(s, c); _ = s.Close() })
	wg.Go(func() { _, _ = io.Copy(c, s); _ = c.Close() })
	wg.Wait()
}
