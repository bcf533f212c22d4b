package postgres_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v4/stdlib" // the driver "pgx" of pools that are not the store's

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/postgres"
	"github.com/flamego/session/storetest"
)

func TestMain(m *testing.M) { testserver.Main(m) }

var ctx = context.Background()

var env = &sqltest.Env{
	Dialect:  postgres.Dialect,
	Driver:   "pgx",
	Initer:   postgres.Initer(),
	Config:   func(c sqlstore.Config) interface{} { return postgres.Config(c) },
	DSN:      testserver.Postgres,
	OldTable: `CREATE TABLE %s (key TEXT PRIMARY KEY, data BYTEA NOT NULL, expired_at TIMESTAMP WITH TIME ZONE NOT NULL)`,
	Time:     "(now() + interval '%d seconds')",
	HasIndex: `SELECT count(*) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
		WHERE i.indrelid = '%s'::regclass AND a.attname = 'expired_at'`,
	Explain: "EXPLAIN ", Analyze: "ANALYZE %T",
	Schema: "public",
	Long:   strings.Repeat("odd63by", 9),
}

func TestBackend(t *testing.T) { env.Run(t) }

// TestVersion says on which PostgreSQL the tests run. With POSTGRES_VERSION=18 it must be of that version.
func TestVersion(t *testing.T) {
	t.Parallel()
	var version string
	if err := env.New(t).DB.QueryRow("SHOW server_version").Scan(&version); err != nil {
		t.Fatal(err)
	}
	t.Log("PostgreSQL", version)
	if want := os.Getenv("POSTGRES_VERSION"); !strings.HasPrefix(version, want) {
		t.Errorf("the version is not %s", want)
	}
}

func TestNthCallFails(t *testing.T) { env.NthCallFails(t) }

// TestSerializable: a server may make each statement a transaction that can fail because of
// others. All rules hold there.
func TestSerializable(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB, lifetime time.Duration) session.Options {
		tab := env.New(t).Init()
		tab.Config.DSN += "&default_transaction_isolation=serializable"
		return tab.Options(lifetime)
	})
}

func TestAllocations(t *testing.T) { env.Allocations(t, 10) }
