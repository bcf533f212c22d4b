package sqlite_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/sqlite"
	"github.com/flamego/session/storetest"
)

var ctx = context.Background()

var env = &sqltest.Env{
	Dialect:  sqlite.Dialect,
	Driver:   "sqlite",
	Initer:   sqlite.Initer(),
	Config:   func(c sqlstore.Config) interface{} { return sqlite.Config(c) },
	DSN:      func(t testing.TB) string { return filepath.Join(t.TempDir(), "app.db") },
	Params:   "?_pragma=busy_timeout(10000)",
	OldTable: `CREATE TABLE %s (key TEXT PRIMARY KEY, data BLOB NOT NULL, expired_at TEXT NOT NULL)`,
	Time:     "datetime('now', '%d seconds')",
	HasIndex: `SELECT COUNT(*) FROM pragma_index_list('%s') l, pragma_index_info(l.name) c WHERE c.seqno = 0 AND c.name = 'expired_at'`,
	OddNames: map[string]string{
		"main.odd_qualified":      "main.odd_qualified",
		"`main`.`odd.dot`":        "main.`odd.dot`",
		"Odd Spaces":              "`Odd Spaces`",
		"odd`quote":               "`odd``quote`",
		"`odd``quoted`":           "`odd``quoted`",
		"odd\"double'; DROP; --":  "`odd\"double'; DROP; --`",
		"odd$1 ? {key} {table}":   "`odd$1 ? {key} {table}`",
		"odd\\\n\t%s %d":          "`odd\\\n\t%s %d`",
		"oddä日本語😀":                "`oddä日本語😀`",
		strings.Repeat("odd", 99): "`" + strings.Repeat("odd", 99) + "`",
		"select":                  "`select`",
	},
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t testing.TB, lifetime time.Duration) session.Options {
		return env.New(t).Init().Options(lifetime)
	})
}

func TestBackend(t *testing.T) { env.Run(t) }
