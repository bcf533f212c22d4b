package sqltest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/testing/tcpproxy"
)

// Outage tests what happens when a server on the network is not there for a
// while.
func (env *Env) Outage(t *testing.T, through Through) {
	open := func(t *testing.T) (*Table, *tcpproxy.Proxy, session.Backend) {
		tab := env.New(t).Init()
		_, server := through(tab.Config.DSN, "")
		p := tcpproxy.New(t, server, tcpproxy.Rules{})
		tab.Config.DSN, _ = through(tab.Config.DSN, p.Addr())
		b := tab.Backend()
		tab.want(true)(b.Insert(ctx, "one", record("a", time.Minute)))
		tab.FillPool(b)
		return tab, p, b
	}
	t.Run("connections cut", func(t *testing.T) {
		t.Parallel()
		tab, p, b := open(t)
		for range 3 {
			p.Cut()
			tab.FillPool(b)
			p.Cut()
			time.Sleep(20 * time.Millisecond)
			tab.wantData(b, "one", "a")
			p.Cut()
			tab.look(b, "one", "b", func() (bool, error) { return b.Swap(ctx, "one", []byte("a"), record("b", time.Minute)) })
			p.Cut()
			tab.look(b, "two", "a", func() (bool, error) { return b.Rename(ctx, "one", "two", []byte("b"), record("a", time.Minute)) })
			p.Cut()
			tab.look(b, "one", "a", func() (bool, error) { return b.Rename(ctx, "two", "one", []byte("a"), record("a", time.Minute)) })
		}
	})
	t.Run("connections cut in flight", func(t *testing.T) {
		t.Parallel()
		tab, p, b := open(t)
		stop, over := make(chan struct{}), make(chan struct{})
		var done atomic.Int64 // operations
		cutter := sync.WaitGroup{}
		cutter.Go(func() {
			defer close(stop)
			for range 25 {
				time.Sleep(20 * time.Millisecond)
				// On a busy machine it takes longer to connect: nobody gets through if all are cut before.
				for before := done.Load(); done.Load() < before+20; {
					select {
					case <-over:
						return
					case <-time.After(time.Millisecond):
					}
				}
				p.Cut()
			}
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
				done.Add(1)
			}
		})
		close(over)
		cutter.Wait()
	})
	t.Run("server hangs", func(t *testing.T) {
		t.Parallel()
		tab, p, b := open(t)
		p.Set(tcpproxy.Freeze)
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
		p.Set(tcpproxy.Pass)
		tab.race(func(int) (bool, error) {
			long, cancel := context.WithTimeout(ctx, 30*time.Second)
			defer cancel()
			_, found, err := b.Load(long, "one")
			return found, err
		})
		tab.wantData(b, "one", "a")
		tab.FillPool(b)
	})
	t.Run("deadline of the operation before", func(t *testing.T) {
		t.Parallel()
		tab, _, b := open(t)
		for range 3 {
			short, cancel := context.WithTimeout(ctx, 3*time.Second)
			tab.want(true)(b.Swap(short, "one", []byte("a"), record("a", time.Minute)))
			<-short.Done()
			cancel()
			tab.FillPool(b)
		}
	})
	t.Run("server hangs at start", func(t *testing.T) {
		t.Parallel()
		tab, p, _ := open(t)
		p.Set(tcpproxy.Freeze)
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		_, _, err := tab.Dialect.Open(short, tab.Config)
		NoLeak(t, err, tab.Config.DSN)
	})
	t.Run("server gone", func(t *testing.T) {
		t.Parallel()
		tab, p, b := open(t)
		p.Stop()
		_, _, err := b.Load(ctx, "one")
		NoLeak(t, err, p.Addr())
		if !strings.Contains(err.Error(), "refused") {
			t.Errorf("the error does not say what is wrong: %v", err)
		}
		p.Start(t)
		tab.wantData(b, "one", "a")
	})
}

// FillPool makes a pool open all its connections.
func (tab *Table) FillPool(b session.Backend) {
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

// BadDSNs opens DSNs that are no good, or lead nowhere. It looks for the secrets in the
// errors, and for what is wanted.
func (env *Env) BadDSNs(t *testing.T, dsns map[string]string, secrets ...string) {
	for dsn, want := range dsns {
		short, cancel := context.WithTimeout(ctx, time.Second)
		_, _, err := env.Dialect.Open(short, sqlstore.Config{DSN: dsn, InitTable: true})
		cancel()
		NoLeak(t, err, append(secrets, dsn)...)
		if want = env.Dialect.Name + ": " + want; err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: the error is %q, want %q", dsn, err, want)
		}
	}
}

// LockHint has an operation wait for a row that somebody holds. With the parameters the
// server says so before the timeout is over. The error has a hint for the handler.
func (env *Env) LockHint(t *testing.T, params string, timeout time.Duration) {
	tab := env.New(t).Init()
	tab.Config.DSN += params
	b := tab.Backend()
	tab.want(true)(b.Insert(ctx, "session1", record("a", time.Minute)))
	tx, err := tab.DB.Begin()
	tab.check(err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.Exec(tab.sql("UPDATE %T SET %d = ?"), []byte("b"))
	tab.check(err)
	short, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err = b.Swap(short, "session1", []byte("a"), record("c", time.Minute))
	NoLeak(t, err, "session1", "UPDATE")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "somebody else held a lock") ||
		!strings.Contains(err.Error(), "a transaction of the handler") {
		t.Errorf("the error is %v", err)
	}
}

// Core runs the tests that parameters of the DSN may break, with a pool of the
// store's own and with one that is shared.
func (env *Env) Core(t *testing.T, params string) {
	for name, test := range map[string]func(*Table){
		"operations": testOperations, "dead": testDead, "bytes": testBytes, "expired_at": testExpiredAt,
		"plain gob": testGob, "races": testRaces, "sweep": testSweep,
		"owners": testOwners,
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
