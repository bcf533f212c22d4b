package postgres_test

import (
	"database/sql"
	"fmt"
	"net/url"
	"testing"

	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testing/testserver"
)

func through(dsn, addr string) (changed, server string) {
	u, err := url.Parse(dsn)
	if err != nil {
		panic(err)
	}
	server = u.Host
	u.Host = addr
	return u.String(), server
}

func TestOutage(t *testing.T) { env.Outage(t, through) }

func TestLostAnswers(t *testing.T) { env.Lost(t, through) }

func TestUnprepared(t *testing.T) { env.Unprepared(t, through) }

func TestDeadConnections(t *testing.T) { env.Dead(t, through) }

func TestLockedRow(t *testing.T) {
	for _, params := range []string{"", "&prefer_simple_protocol=true"} {
		t.Run(params, func(t *testing.T) {
			t.Parallel()
			tab := env.New(t)
			tab.Config.DSN += params + "&application_name=" + tab.Config.Table
			tab.Locked(func() int64 {
				return tab.Scalar("SELECT count(*) FROM pg_stat_activity WHERE application_name = ?", tab.Config.Table)
			})
		})
	}
}

func execAll(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRoleLimit has a role with a few connections. (The limits of a database and of the
// server have the same code.)
func TestRoleLimit(t *testing.T) {
	t.Parallel()
	tab := env.New(t).Init()
	tab.Backend()
	role := "few" + tab.Config.Table
	execAll(t, tab.DB, "CREATE ROLE "+role+" LOGIN PASSWORD 'secret' CONNECTION LIMIT 4",
		fmt.Sprintf("GRANT ALL ON %s TO %s", tab.Config.Table, role))
	t.Cleanup(func() { execAll(t, tab.DB, "DROP OWNED BY "+role, "DROP ROLE "+role) })
	u, err := url.Parse(tab.Config.DSN)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "secret")
	tab.Config.DSN = u.String()
	tab.Config.InitTable = false
	tab.Crowd()
}

func TestFailover(t *testing.T) {
	t.Parallel()
	env.Failover(t, through, func(t testing.TB) sqltest.Server {
		dsn := testserver.OwnPostgres(t)
		db, err := sql.Open("pgx", dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return sqltest.Server{DSN: dsn, ReadOnly: func(is bool) {
			execAll(t, db, fmt.Sprintf("ALTER SYSTEM SET default_transaction_read_only = %t", is), "SELECT pg_reload_conf()")
			for now := ""; now != map[bool]string{true: "on", false: "off"}[is]; {
				c, err := sql.Open("pgx", dsn)
				if err == nil {
					err = c.QueryRow("SHOW default_transaction_read_only").Scan(&now)
					_ = c.Close()
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}}
	})
}
