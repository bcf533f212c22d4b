package postgres_test

import (
	"database/sql"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgproto3/v2"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testserver"
	"github.com/flamego/session/postgres"
)

func TestOutage(t *testing.T) {
	env.Outage(t, func(dsn, addr string) (changed, server string) {
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		server = u.Host
		u.Host = addr
		return u.String(), server
	})
}

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
	env.BadDSNs(t, map[string]string{
		with("canary-user", "canary-pass", "/canary-db"):                                     "authentication failed",
		with(good.User.Username(), "canary-pass", "/canary-db"):                              "authentication failed",
		"postgres://canary-user:canary-pass@127.0.0.1:1/canary-db":                           "connection refused",
		"postgres://canary-user:canary-pass@/canary-db?host=/canary-host":                    "no such file",
		"postgres://canary-user:canary-pass@canary-host.invalid/canary-db":                   "look up the host",
		"postgres://canary-user:canary/pass@canary-host/canary-db":                           "the DSN is not valid",
		"postgres://canary-user:canary%pass@canary-host/canary-db":                           "the DSN is not valid",
		"postgres://canary-user:canary`pass\"@canary-host:canary/canary-db":                  "the DSN is not valid",
		"postgres://canary-user:canary-pass@127.0.0.1/canary-db?sslmode=canary":              "failed to configure TLS",
		"postgres://canary-user:canary-pass@127.0.0.1/canary-db?target_session_attrs=canary": "unknown target_session_attrs value",
		"host=127.0.0.1 port=1 user=canary-user password=canary-pass dbname=canary":          "connection refused",
		"host=127.0.0.1 port=canary user=canary-user password='canary-pass":                  "the DSN is not valid",
		"canary": "the DSN is not valid",
	}, "canary")

	password, _ := good.User.Password()
	_, err = session.New(session.Options{Initer: postgres.Initer(), Config: postgres.Config{DSN: with(good.User.Username(), password, "/canary-db")}})
	sqltest.NoLeak(t, err, "canary-db", password, good.Host)
}

// TestHostileServer sends what makes the parser of pgx panic.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	login := []byte("R\x00\x00\x00\x08\x00\x00\x00\x00")
	ready := []byte("Z\x00\x00\x00\x05I")
	row := []byte("D\x00\x00\x00\x0a\x00\x01\xff\xff\xff\xf0") // a column of -16 bytes
	for name, greeting := range map[string][]byte{
		"on connect": append(login, row...),
		"later":      append(login, ready...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						b := pgproto3.NewBackend(pgproto3.NewChunkReader(c), c)
						if _, err := b.ReceiveStartupMessage(); err != nil {
							return
						}
						_, _ = c.Write(greeting)
						for {
							if _, err := b.Receive(); err != nil {
								return
							}
							_, _ = c.Write(row)
						}
					}()
				}
			}()
			dsn := "postgres://u:p@" + l.Addr().String() + "/db?sslmode=disable"
			db, err := sql.Open("pgx", dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			for _, config := range []sqlstore.Config{{DSN: dsn}, {DB: db}} {
				_, _, err := postgres.Dialect.Open(ctx, config)
				sqltest.NoLeak(t, err, "u:p")
			}
		})
	}
}
