package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgproto3/v2"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/postgres"
)

func TestParameters(t *testing.T) {
	for _, params := range []string{
		"&prefer_simple_protocol=true", "&statement_cache_mode=describe", "&statement_cache_capacity=0",
		"&timezone=Asia%2FTokyo", "&default_transaction_isolation=serializable", "&bytea_output=escape",
	} {
		t.Run(params, func(t *testing.T) {
			t.Parallel()
			env.Core(t, params)
		})
	}
}

// TestDollars: in the simple protocol, pgx writes the arguments into the statement (CVE-2026-41889 is
// about those in dollar quotes). Dollars and quotes in the name of a table and of an owner are a
// part of the name.
func TestDollars(t *testing.T) {
	t.Parallel()
	tab := env.New(t).Init()
	tab.Config.DSN += "&prefer_simple_protocol=true"
	tab.Config.Table += `$$ $1 '$a$ $2 --`
	t.Cleanup(func() { execAll(t, tab.DB, `DROP TABLE "`+tab.Config.Table+`"`) })
	backendtest.Owners(t, tab.Backend(), "dollars")
}

// TestTerminated has the server end all connections, as it does when it shuts
// down: each finds a last message when it is used next.
func TestTerminated(t *testing.T) {
	t.Parallel()
	tab := env.New(t).Init()
	tab.Config.DSN += "&application_name=" + tab.Config.Table
	store := tab.Store()
	for range 5 {
		s, err := store.Read(ctx, "session1")
		if err != nil {
			t.Fatal(err)
		}
		s.Set("key", 1)
		if err := store.Save(ctx, s); err != nil {
			t.Fatal(err)
		}
		tab.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ?", tab.Config.Table)
		time.Sleep(20 * time.Millisecond)
	}
}

// TestBadDSN looks for pieces of a DSN in errors at start.
func TestBadDSN(t *testing.T) {
	t.Parallel()
	good, err := url.Parse(testserver.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	with := func(user, password, database string) string {
		u := *good
		u.User, u.Path = url.UserPassword(user, password), database
		return u.String()
	}
	password, _ := good.User.Password()
	env.BadDSNs(t, map[string]string{
		with("canary-user", "canary-pass", "/canary-db"):                                     "connect: user or password: password authentication failed (SQLSTATE 28P01)",
		with(good.User.Username(), "canary-pass", "/canary-db"):                              "connect: user or password: password authentication failed (SQLSTATE 28P01)",
		with(good.User.Username(), password, "/canary-db"):                                   "connect: database: there is no such database (SQLSTATE 3D000)",
		good.String() + "&canary=1":                                                          "connect: a parameter of the DSN: unrecognized configuration parameter",
		strings.Replace(good.String(), "sslmode=disable", "sslmode=require", 1):              "connect: sslmode: server refused TLS connection",
		"postgres://canary-user:canary-pass@127.0.0.1:1/canary-db":                           "connect: host or port: connect: connection refused",
		"postgres://canary-user:canary-pass@/canary-db?host=/canary-host":                    "connect: host (the socket): connect: no such file",
		"postgres://canary-user:canary-pass@canary-host.invalid/canary-db":                   "connect: host: look up the host: ",
		"postgres://canary-user:canary/pass@canary-host/canary-db":                           "the DSN is not valid: password (in a URL it must be escaped), host or port",
		"postgres://canary-user:canary%pass@canary-host/canary-db":                           "the DSN is not valid: password (in a URL it must be escaped), host or port",
		"postgres://canary-user:canary`pass\"@canary-host:canary/canary-db":                  "the DSN is not valid: password (in a URL it must be escaped), host or port",
		"postgres://canary-user:canary-pass@127.0.0.1/canary-db?sslmode=canary":              "the DSN is not valid: sslmode",
		"postgres://canary-user:canary-pass@127.0.0.1/canary-db?sslrootcert=canary":          "the DSN is not valid: sslrootcert",
		"postgres://canary-user:canary-pass@127.0.0.1/canary-db?connect_timeout=canary":      "the DSN is not valid: invalid connect_timeout",
		"postgres://canary-user:canary-pass@127.0.0.1/canary-db?target_session_attrs=canary": "the DSN is not valid: unknown target_session_attrs value",
		"host=127.0.0.1 port=1 user=canary-user password=canary-pass dbname=canary":          "connect: host or port: connect: connection refused",
		"host=127.0.0.1 port=canary user=canary-user password=canary-pass":                   "the DSN is not valid: port: invalid port",
		"host=127.0.0.1 port=1 user=canary-user password='canary-pass":                       "the DSN is not valid: unterminated quoted string",
		"password='a\\": "the DSN is not valid: the driver panicked",
		"canary":        "the DSN is not valid: failed to parse as DSN",
	}, "canary", password)
}

// hostileRow makes the parser of pgx panic: a column of -16 bytes.
var hostileRow = []byte("D\x00\x00\x00\x0a\x00\x01\xff\xff\xff\xf0")

// hostile starts a server that answers a login, the ping at start and what
// follows with the given messages.
func hostile(t *testing.T, login, ping, query []byte) (dsn string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	serve := func(c net.Conn) {
		defer c.Close()
		b := pgproto3.NewBackend(pgproto3.NewChunkReader(c), c)
		if _, err := b.ReceiveStartupMessage(); err != nil {
			return
		}
		c.Write(login)
		for {
			switch msg, err := b.Receive(); msg.(type) {
			case *pgproto3.Query:
				c.Write(ping)
			default:
				if err != nil {
					return
				}
				c.Write(query)
			}
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return "postgres://u:p@" + l.Addr().String() + "/db?sslmode=disable"
}

func TestHostileServer(t *testing.T) {
	t.Parallel()
	login := []byte("R\x00\x00\x00\x08\x00\x00\x00\x00" + "Z\x00\x00\x00\x05I")
	ping := []byte("I\x00\x00\x00\x04" + "Z\x00\x00\x00\x05I")

	for _, dsn := range []string{hostile(t, append(login[:9:9], hostileRow...), nil, nil), hostile(t, login, hostileRow, nil)} {
		db, err := sql.Open("pgx", dsn)
		if err != nil {
			t.Fatal(err)
		}
		for _, config := range []sqlstore.Config{{DSN: dsn}, {DB: db}} {
			_, _, err := postgres.Dialect.Open(ctx, config)
			sqltest.NoLeak(t, err, "u:p")
		}
	}

	// Past the start, a panic inside database/sql would keep its connection out
	// of the pool for good, and soon there would be none left.
	b, _, err := postgres.Dialect.Open(ctx, sqlstore.Config{DSN: hostile(t, login, ping, hostileRow)})
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		short, cancel := context.WithTimeout(ctx, 20*time.Second)
		_, _, err := b.Load(short, "session1")
		cancel()
		if err == nil || !strings.Contains(err.Error(), "panicked") {
			t.Fatalf("Load: %v", err)
		}
	}
	if err := b.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
}

// TestOddRows loads sessions at the same time from a table that is not one of
// InitTable, or has a row that makes no sense: each as it would be alone.
func TestOddRows(t *testing.T) {
	t.Parallel()
	for name, alter := range map[string]string{
		"CHAR":     "ALTER TABLE %s ALTER COLUMN key TYPE CHAR(40)",
		"infinity": "UPDATE %s SET expired_at = 'infinity' WHERE key = 'session0'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tab := env.New(t).Init()
			store := tab.Store()
			const n = 8
			for i := range n {
				s := session.NewBaseSessionWithData(fmt.Sprint("session", i), nil, nil, session.Data{"n": i})
				if err := store.Save(ctx, s); err != nil {
					t.Fatal(err)
				}
			}
			tab.Exec(fmt.Sprintf(alter, tab.Config.Table))
			var wg sync.WaitGroup
			for g := range 64 {
				wg.Go(func() {
					for r := range 10 {
						i := (g + r) % n
						s, err := store.Read(ctx, fmt.Sprint("session", i))
						switch {
						case i == 0 && name == "infinity":
							if err == nil {
								t.Error("an expiry without end makes sense")
							}
						case err != nil:
							t.Error(err)
						case s.Get("n") != i:
							t.Errorf("session %d has %v", i, s.Get("n"))
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestStarting(t *testing.T) {
	env.Starting(t, through, func(c net.Conn) {
		if _, err := pgproto3.NewBackend(pgproto3.NewChunkReader(c), c).ReceiveStartupMessage(); err == nil {
			answer, _ := (&pgproto3.ErrorResponse{Severity: "FATAL", Code: "57P03", Message: "the database system is starting up"}).Encode(nil)
			_, _ = c.Write(answer)
		}
	}, func(dsn string) string {
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword("canary", "canary")
		return u.String()
	})
}

func FuzzDSN(f *testing.F) {
	env.FuzzDSN(f, nil,
		"password='a\\", "postgres://user:password@host:5432/database?sslmode=verify-full", "host=h port=5432 user=u password='p' dbname=d",
		"postgres://u:p@[::1]:1,h:2/d?target_session_attrs=any", "host=/tmp port=99999", "user='\\'", "=", "'", "a=\\", "postgresql://", "postgres://%zz",
		"service=x servicefile=/nowhere", "sslmode=require sslcert=/nowhere sslkey=/nowhere", "connect_timeout=-1", "statement_cache_capacity=x",
		"prefer_simple_protocol=2", "password=a\\", "password='a' '")
}

func TestLockHint(t *testing.T) {
	t.Parallel()
	env.LockHint(t, "&lock_timeout=200", 700*time.Millisecond)
}

func TestRefusals(t *testing.T) {
	good, err := url.Parse(testserver.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := good.User.Password()
	const raise = `CREATE OR REPLACE FUNCTION raise_canary() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN RAISE EXCEPTION USING MESSAGE = concat(NEW.key, NEW.data, encode(NEW.data, ''escape'')); END'`
	env.Secrets(t, map[string][]string{
		"CHECK":     {"ALTER TABLE %T ADD CHECK (length(data) < 3)"},
		"trigger":   {raise, "CREATE TRIGGER canary BEFORE INSERT OR UPDATE ON %T FOR EACH ROW EXECUTE PROCEDURE raise_canary()"},
		"too long":  {"ALTER TABLE %T ALTER COLUMN key TYPE VARCHAR(15)"},
		"text":      {"ALTER TABLE %T ALTER COLUMN data TYPE TEXT USING 'a'"},
		"number":    {"ALTER TABLE %T ALTER COLUMN data TYPE INTEGER USING 1"},
		"uuid":      {"DELETE FROM %T", "ALTER TABLE %T ALTER COLUMN key TYPE UUID USING NULL::uuid"},
		"no column": {"ALTER TABLE %T DROP COLUMN data"},
	}, password, good.Host)
}

// TestNoPermission: the error at start names the Table.
func TestNoPermission(t *testing.T) {
	t.Parallel()
	tab := env.New(t).Init()
	tab.Backend()
	user := "nobody_" + tab.Config.Table
	tab.Exec("CREATE ROLE " + user + " LOGIN PASSWORD 'canary-pass'")
	t.Cleanup(func() { tab.Exec("DROP ROLE " + user) })
	u, err := url.Parse(tab.Config.DSN)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, "canary-pass")
	tab.Config.DSN = u.String()
	for _, table := range []string{tab.Config.Table, "not_there", "no_schema.not_there"} {
		tab.Config.Table = table
		_, _, err = postgres.Dialect.Open(ctx, tab.Config)
		sqltest.NoLeak(t, err, user, "canary-pass", "SELECT", "TIMESTAMPTZ")
		if !strings.Contains(err.Error(), ": Table: ") {
			t.Error(err)
		}
	}
}
