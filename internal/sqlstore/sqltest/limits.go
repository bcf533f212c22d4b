package sqltest

import (
	"context"
	"database/sql/driver"
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

func sid(i int) string { return fmt.Sprintf("session%02d", i) }

// counter counts the connections that it makes.
type counter struct {
	driver.Connector
	made *atomic.Int64
}

func (c counter) Connect(ctx context.Context) (driver.Conn, error) {
	c.made.Add(1)
	return c.Connector.Connect(ctx)
}

// counted is the dialect with a counter.
func (tab *Table) counted(made *atomic.Int64) *sqlstore.Dialect {
	same := *tab.Dialect
	same.Connector = func(dsn string) (driver.Connector, error) {
		c, err := tab.Dialect.Connector(dsn)
		return counter{c, made}, err
	}
	return &same
}

// Locked has a row locked by somebody else for longer than anybody waits, and requests
// that want it. Other sessions do not notice. The function count counts the connections of
// the store on the server; it may be nil.
func (tab *Table) Locked(count func() int64) {
	const poolSize, duration = 16, 12 * time.Second
	var made atomic.Int64
	b, _, err := tab.counted(&made).Open(ctx, tab.Init().Config)
	tab.check(err)
	defer func() { tab.check(b.(interface{ Close() error }).Close()) }()
	for i := range 4 {
		tab.want(true)(b.Insert(ctx, sid(i), record("a", time.Hour)))
	}
	tab.want(true)(b.Insert(ctx, "locked", record("a", time.Hour)))
	tx, err := tab.DB.Begin()
	tab.check(err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.Exec(tab.sql("UPDATE %T SET %d = ? WHERE %k = 'locked'"), []byte("b"))
	tab.check(err)

	var wg sync.WaitGroup
	var others, most atomic.Int64
	end := time.Now().Add(duration)
	for i := range 4 {
		wg.Go(func() {
			for time.Now().Before(end) {
				within, cancel := context.WithTimeout(ctx, 5*time.Second)
				begun := time.Now()
				_, found, err := b.Load(within, sid(i))
				if err == nil && found && !tab.Dialect.Single { // of one file there is one writer
					_, err = b.Swap(within, sid(i), []byte("a"), record("a", time.Hour))
				}
				if err != nil || !found {
					tab.Errorf("session %d fails after %v: found: %t: %v", i, time.Since(begun), found, err)
				}
				cancel()
				others.Add(1)
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	for time.Now().Before(end) {
		wg.Go(func() {
			within, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			if ok, err := b.Swap(within, "locked", []byte("a"), record("c", time.Hour)); !errors.Is(err, context.DeadlineExceeded) {
				tab.Errorf("a locked row: %t, %v", ok, err)
			}
		})
		time.Sleep(250 * time.Millisecond)
		if count != nil {
			most.Store(max(most.Load(), count()))
		}
	}
	wg.Wait()
	if n := most.Load(); n > 2*poolSize {
		tab.Errorf("%d connections, want %d at most", n, 2*poolSize)
	}
	if n := made.Load(); n > 2*poolSize {
		tab.Errorf("%d connections are made, want %d at most", n, 2*poolSize)
	}
	if n := others.Load(); n < 40 {
		tab.Errorf("%d requests of others", n)
	}
	tab.check(tx.Rollback())
	tab.check(b.Delete(ctx, "locked"))
}

// Crowd has many clients, and a server that allows only a few connections: those of
// the DSN of the table. Nobody notices.
func (tab *Table) Crowd() {
	visits := func(store session.Store) {
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				for range 10 {
					if err := tab.visit(store, i); err != nil {
						tab.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
	var made atomic.Int64
	m, err := session.New(session.Options{
		Initer: sqlstore.Initer[sqlstore.Config](tab.counted(&made)), Config: tab.Config,
	})
	tab.check(err)
	begun := time.Now()
	visits(m.Store())
	tab.check(m.Close())
	if n, most := made.Load(), 40+int64(4*time.Since(begun).Seconds()); n > most {
		tab.Errorf("%d connections are tried, want %d at most", n, most)
	}

	// A pool with no limit of its own.
	tab.Config.DB = tab.Pool(tab.Config.DSN)
	tab.Config.DB.SetMaxIdleConns(16)
	visits(tab.Store())
}

func testMaxConns(tab *Table) {
	tab.Init().Backend()
	for n, most := range map[int]int64{0: 16, 1: 1, 3: 3} {
		var made atomic.Int64
		tab.Config.MaxConns = n
		b, _, err := tab.counted(&made).Open(ctx, tab.Config)
		tab.check(err)
		_, err = b.Insert(ctx, "one", record("a", time.Minute))
		tab.check(err)
		for try := 0; try == 0 || try < 100 && n > 1 && made.Load() < 2; try++ { // requests need not meet
			tab.FillPool(b)
			tab.race(func(i int) (bool, error) { return b.Insert(ctx, sid(i), record("a", time.Minute)) })
		}
		tab.check(b.(interface{ Close() error }).Close())
		if got := made.Load(); got > most || n > 1 && got < 2 {
			tab.Errorf("MaxConns %d: %d connections, want %d at most", n, got, most)
		}
	}
	tab.Config.MaxConns = -1
	_, _, err := tab.Dialect.Open(ctx, tab.Config)
	if err == nil || !strings.Contains(err.Error(), "MaxConns") {
		tab.Errorf("the error does not name MaxConns: %v", err)
	}
}

// Server is a server that takes no writes any more when it is told so.
type Server struct {
	DSN      string
	ReadOnly func(bool)
}

// Failover moves what is new to another server, while the first one takes no writes
// any more and keeps its connections. No visit fails.
func (env *Env) Failover(t *testing.T, through Through, start func(testing.TB) Server) {
	first, second := start(t), start(t)
	for name, shared := range map[string]bool{"own pool": false, "shared pool": true} {
		t.Run(name, func(t *testing.T) {
			at := func(s Server) *Table {
				same := *env
				same.DSN = func(testing.TB) string { return s.DSN }
				return same.New(t).Init()
			}
			tab, other := at(first), at(second)
			other.named(tab.Config.Table, "")
			for _, tab := range []*Table{tab, other} {
				store := tab.Store()
				for i := range 16 {
					tab.check(tab.visit(store, i))
				}
			}
			_, addr := through(first.DSN, "")
			_, addr2 := through(second.DSN, "")
			p := tcpproxy.New(t, addr, tcpproxy.Rules{})
			tab.Config.DSN, _ = through(tab.Config.DSN, p.Addr())
			if shared {
				tab.Config.DB = tab.Pool(tab.Config.DSN + tab.Params)
				tab.Config.DB.SetMaxIdleConns(16)
				tab.Config.DB.SetMaxOpenConns(16)
			}
			store := tab.Store()
			tab.race(func(i int) (bool, error) { return true, tab.visit(store, i%16) })

			first.ReadOnly(true)
			defer first.ReadOnly(false)
			p.MoveTo(addr2)
			for i := range 10 {
				before := p.Trips()
				if err := tab.visit(store, i); err != nil {
					t.Errorf("visit %d fails: %v", i, err)
				}
				// All connections of the pool go at once, and not one with each attempt.
				if n := p.Trips() - before; n > 40 {
					t.Errorf("visit %d: %d round trips", i, n)
				}
			}
			s, err := other.Store().Read(ctx, sid(9))
			other.check(err)
			if n, _ := s.Get("n").(int); n < 2 {
				t.Error("the visit is not at the other server")
			}
		})
	}
}

// testBusyPool shares a pool of which a handler holds all connections.
func testBusyPool(tab *Table) {
	tab.Init().Backend()
	tab.Config.DB = tab.Pool(tab.Config.DSN + tab.Params)
	tab.Config.DB.SetMaxOpenConns(1)
	b := tab.Backend()
	tx, err := tab.Config.DB.Begin()
	tab.check(err)
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	_, err = b.Insert(short, "one", record("a", time.Minute))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "a transaction of the handler") {
		tab.Errorf("the error is %v", err)
	}
	tab.check(tx.Rollback())
	tab.want(true)(b.Insert(ctx, "one", record("a", time.Minute)))
}
