package drivers

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
	_ "github.com/mattn/go-sqlite3"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/sqlstore/pgdialect"
	"github.com/flamego/session/internal/sqlstore/sqlitedialect"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/postgres/anydriver"
	"github.com/flamego/session/sqlite"
)

func TestMain(m *testing.M) { testserver.Main(m) }

var ctx = context.Background()

func postgresEnv(driver string) *sqltest.Env {
	dialect := pgdialect.Dialect()
	return &sqltest.Env{
		Dialect: &dialect,
		Driver:  driver,
		Shared:  true,
		Initer:  anydriver.Initer(),
		Config: func(c sqlstore.Config) interface{} {
			return anydriver.Config{
				Lifetime: c.Lifetime, DB: c.DB, Table: c.Table, Encoder: c.Encoder, Decoder: c.Decoder,
				InitTable: c.InitTable, MaxDataSize: c.MaxDataSize,
			}
		},
		DSN:      testserver.Postgres,
		OldTable: `CREATE TABLE %s (key TEXT PRIMARY KEY, data BYTEA NOT NULL, expired_at TIMESTAMP WITH TIME ZONE NOT NULL)`,
		Time:     "(now() + interval '%d seconds')",
		HasIndex: `SELECT count(*) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
			WHERE i.indrelid = '%s'::regclass AND a.attname = 'expired_at'`,
		Explain: "EXPLAIN ", Analyze: "ANALYZE %T",
		Schema: "public",
		Long:   strings.Repeat("odd63by", 9),
	}
}

func sqliteEnv() *sqltest.Env {
	dialect := sqlitedialect.Dialect()
	return &sqltest.Env{
		Dialect:  &dialect,
		Driver:   "sqlite3",
		Shared:   true,
		Initer:   sqlite.Initer(),
		Config:   func(c sqlstore.Config) interface{} { return sqlite.Config(c) },
		DSN:      func(t testing.TB) string { return filepath.Join(t.TempDir(), "app.db") },
		Params:   "?_busy_timeout=100&_journal_mode=WAL",
		OldTable: `CREATE TABLE %s (key TEXT PRIMARY KEY, data BLOB NOT NULL, expired_at TEXT NOT NULL)`,
		Time:     "datetime('now', '%d seconds')",
		HasIndex: `SELECT COUNT(*) FROM pragma_index_list('%s') l, pragma_index_info(l.name) c WHERE c.seqno = 0 AND c.name = 'expired_at'`,
		Explain:  "EXPLAIN QUERY PLAN ", Analyze: "ANALYZE %T",
		Schema: "main",
		Long:   strings.Repeat("odd", 99),
	}
}

func TestPgx5(t *testing.T)  { postgresEnv("pgx").Run(t) }
func TestPq(t *testing.T)    { postgresEnv("postgres").Run(t) }
func TestMattn(t *testing.T) { sqliteEnv().Run(t) }

// TestLostConnections: a load and an extend go on after the connections of the pool broke.
func TestLostConnections(t *testing.T) {
	for _, driver := range []string{"pgx", "postgres"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			tab := postgresEnv(driver).New(t).Init()
			u, err := url.Parse(tab.Config.DSN)
			if err != nil {
				t.Fatal(err)
			}
			proxy := tcpproxy.New(t, u.Host, tcpproxy.Rules{})
			u.Host = proxy.Addr()
			db, err := sql.Open(driver, u.String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			db.SetMaxIdleConns(8)
			tab.Config.DB = db
			b := tab.Backend()
			if ok, err := b.Insert(ctx, "one", backendtest.Record("a", time.Minute)); !ok || err != nil {
				t.Fatal(ok, err)
			}
			read := func(int) (bool, error) {
				_, found, err := b.Load(ctx, "one")
				return found, err
			}
			for range 5 {
				if n := backendtest.Race(t, 8, read); n != 8 { // fills the pool
					t.Fatalf("%d of 8 find the session", n)
				}
				proxy.Cut()
				if n := backendtest.Race(t, 8, read); n != 8 {
					t.Fatalf("%d of 8 find the session", n)
				}
				proxy.Cut()
				if err := b.Extend(ctx, "one", time.Hour); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestLostAnswers: no driver makes a write twice, whatever it says after a lost answer.
func TestLostAnswers(t *testing.T) {
	for _, driver := range []string{"pgx", "postgres"} {
		t.Run(driver, func(t *testing.T) {
			postgresEnv(driver).Lost(t, func(dsn, addr string) (changed, server string) {
				u, err := url.Parse(dsn)
				if err != nil {
					t.Fatal(err)
				}
				server, u.Host = u.Host, addr
				if driver == "postgres" && addr != "" { // a write is one round trip then, as with pgx
					u.RawQuery += "&binary_parameters=yes"
				}
				return u.String(), server
			})
		})
	}
}

// TestReadOnly: what the database does not let the store do is said in our words.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		tab    *sqltest.Table
		params string
		want   string
	}{
		"pgx":      {postgresEnv("pgx").New(t), "&default_transaction_read_only=on", "read-only (SQLSTATE 25006)"},
		"postgres": {postgresEnv("postgres").New(t), "&default_transaction_read_only=on", "read-only (SQLSTATE 25006)"},
		"sqlite3":  {sqliteEnv().New(t), "&mode=ro", "attempt to write a readonly database (code 8)"},
	} {
		t.Run(name, func(t *testing.T) {
			test.tab.Init().Backend()
			dsn := test.tab.Config.DSN + test.tab.Params + test.params
			if name == "sqlite3" {
				dsn = "file:" + dsn
			}
			test.tab.Config.DB = test.tab.Pool(dsn)
			b := test.tab.Backend()
			// The store tries again until its time is over. If that is in the middle of a try, lib/pq
			// knows no more than that.
			var err error
			for try := 0; try < 5 && (err == nil || !strings.Contains(err.Error(), test.want)); try++ {
				short, cancel := context.WithTimeout(ctx, 2*time.Second)
				_, err = b.Insert(short, "session1", session.Record{Data: []byte("canary"), TTL: time.Minute})
				cancel()
				sqltest.NoLeak(t, err, "session1", "canary", "INSERT")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %q", err, test.want)
			}
		})
	}
}

// TestLocked: a lock that somebody holds is waited for until the deadline, which the error
// says.
func TestLocked(t *testing.T) {
	t.Parallel()
	tab := sqliteEnv().New(t).Init()
	b := tab.Backend()
	tx, err := tab.DB.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec("UPDATE " + tab.Quoted + " SET data = ''"); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	_, err = b.Insert(short, "session1", backendtest.Record("a", time.Minute))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "lock") {
		t.Error(err)
	}
}
