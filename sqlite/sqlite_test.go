package sqlite_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/sqlite"
)

var ctx = context.Background()

var env = &sqltest.Env{
	Dialect:  sqlite.Dialect,
	Driver:   "sqlite",
	Initer:   sqlite.Initer(),
	Config:   func(c sqlstore.Config) interface{} { return sqlite.Config(c) },
	Longer:   backendtest.Always,
	DSN:      func(t testing.TB) string { return filepath.Join(t.TempDir(), "app.db") },
	Params:   "?_pragma=busy_timeout(10000)",
	OldTable: `CREATE TABLE %s (key TEXT PRIMARY KEY, data BLOB NOT NULL, expired_at TEXT NOT NULL)`,
	Time:     "datetime('now', '%d seconds')",
	HasIndex: `SELECT COUNT(*) FROM pragma_index_list('%s') l, pragma_index_info(l.name) c WHERE c.seqno = 0 AND c.name = 'expired_at'`,
	Explain:  "EXPLAIN QUERY PLAN ", Analyze: "ANALYZE %T",
	Schema: "main",
	Long:   strings.Repeat("odd", 99),
}

func TestBackend(t *testing.T) { env.Run(t) }

func TestNthCallFails(t *testing.T) { env.NthCallFails(t) }

func TestAllocations(t *testing.T) { env.Allocations(t, 8) }
