package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/storetest"
)

// TestPgBouncer: all rules hold behind a PgBouncer in transaction mode, with the parameter of the
// doc. Each statement may be on another connection to the server then, of which there are few.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	bouncer := testserver.PgBouncer(t, testserver.Postgres(t))
	behind := *env
	behind.DSN = func(testing.TB) string { return bouncer.URL + "&prefer_simple_protocol=true" }
	t.Run("conformance", func(t *testing.T) {
		storetest.Run(t, func(t testing.TB, lifetime time.Duration) session.Options {
			return behind.New(t).Init().Options(lifetime)
		})
	})
	t.Run("core", func(t *testing.T) { behind.Core(t, "") })
}

// TestPgBouncerPrepared: without the parameter, a PgBouncer that does not follow prepared statements
// may run a statement on a connection where it was not prepared, or where another process has prepared
// something else under the same name. The statement is prepared anew then, and nothing else is run.
func TestPgBouncerPrepared(t *testing.T) {
	t.Parallel()
	bouncer := testserver.PgBouncer(t, testserver.Postgres(t), "default_pool_size = 2")
	tab := env.New(t).Init()
	tab.Config.DSN, tab.Config.MaxConns = bouncer.URL, 1
	b := tab.Backend()
	for _, sid := range []string{"one", "two"} {
		if ok, err := b.Insert(ctx, sid, session.Record{Data: []byte("a"), TTL: time.Minute}); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if err := b.Delete(ctx, "one"); err != nil {
		t.Fatal(err)
	}

	// Another process has a transaction on the connection that the store has used, and then one on the
	// other connection, where it has prepared something.
	other := func() *sql.Conn {
		c, err := tab.Pool(bouncer.URL + "&prefer_simple_protocol=true").Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := c.ExecContext(ctx, "BEGIN"); err != nil {
			t.Fatal(err)
		}
		return c
	}
	first, second := other(), other()
	var name string
	if err := first.QueryRowContext(ctx, "SELECT name FROM pg_prepared_statements WHERE statement LIKE 'DELETE FROM%'").Scan(&name); err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(name, "lrupsc_") { // pgx itself counts, as it does in the other process
		if _, err := second.ExecContext(ctx, "PREPARE "+name+"(text) AS SELECT $1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := second.ExecContext(ctx, "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(ctx, "two"); err != nil {
		t.Error(err)
	}
	if n := tab.Scalar("SELECT count(*) FROM %T"); n != 0 {
		t.Error("what was deleted is there")
	}
}

// TestPgBouncerWithoutServer: what PgBouncer refuses because it has no connection to the server was not
// done, so also what may be done only once is tried again while there is time.
func TestPgBouncerWithoutServer(t *testing.T) {
	const simple = "&prefer_simple_protocol=true"
	test := func(t *testing.T, tab *sqltest.Table, away, back func()) {
		b := tab.Backend()
		insert := func(sid string, within time.Duration) error {
			ctx, cancel := context.WithTimeout(ctx, within)
			defer cancel()
			ok, err := b.Insert(ctx, sid, session.Record{Data: []byte("a"), TTL: time.Minute})
			if err == nil && !ok {
				t.Error("the session is there already")
			}
			return err
		}
		away()
		err := insert("one", 2500*time.Millisecond)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "PgBouncer has no connection") {
			t.Error(err)
		}
		later := make(chan error, 1)
		go func() { later <- insert("one", 20*time.Second) }()
		time.Sleep(1500 * time.Millisecond)
		back()
		if err := <-later; err != nil {
			t.Error(err)
		}
	}
	t.Run("the server is away", func(t *testing.T) {
		t.Parallel()
		server := testserver.DurablePostgres(t)
		bouncer := testserver.PgBouncer(t, server.URL)
		behind := *env
		behind.DSN = func(testing.TB) string { return bouncer.URL + simple }
		tab := behind.New(t).Init()
		away := func() {
			server.Kill(t)
			for err := error(nil); err == nil; { // processes of its connections outlive it for a moment
				once, cancel := context.WithTimeout(ctx, time.Second)
				_, err = tab.DB.ExecContext(once, "SELECT 1")
				cancel()
			}
		}
		test(t, tab, away, func() { server.Start(t) })
	})
	t.Run("all connections are in use", func(t *testing.T) {
		t.Parallel()
		bouncer := testserver.PgBouncer(t, testserver.Postgres(t), "default_pool_size = 1", "query_wait_timeout = 1")
		tab := env.New(t).Init()
		tab.Config.DSN = bouncer.URL + simple
		var tx *sql.Tx
		away := func() {
			var err error
			if tx, err = tab.Pool(tab.Config.DSN).Begin(); err == nil {
				_, err = tx.Exec("SELECT 1")
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		test(t, tab, away, func() { _ = tx.Rollback() })
	})
}
