package mysql_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testserver"
	"github.com/flamego/session/mysql"
	"github.com/flamego/session/storetest"
)

func TestMain(m *testing.M) { testserver.Main(m) }

var ctx = context.Background()

var env = &sqltest.Env{
	Dialect:  mysql.Dialect,
	Driver:   "mysql",
	Initer:   mysql.Initer(),
	Config:   func(c sqlstore.Config) interface{} { return mysql.Config(c) },
	DSN:      testserver.MySQL,
	OldTable: "CREATE TABLE %s (`key` VARCHAR(255) NOT NULL, `data` BLOB NOT NULL, `expired_at` DATETIME NOT NULL, PRIMARY KEY (`key`)) DEFAULT CHARSET=utf8",
	Time:     "(UTC_TIMESTAMP() + INTERVAL %d SECOND)",
	HasIndex: `SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE()
		AND table_name = '%s' AND column_name = 'expired_at' AND seq_in_index = 1`,
	OddNames: map[string]string{
		"test.odd_qualified":         "test.odd_qualified",
		"`test`.`odd.dot`":           "test.`odd.dot`",
		"Odd Spaces":                 "`Odd Spaces`",
		"odd`quote":                  "`odd``quote`",
		"`odd``quoted`":              "`odd``quoted`",
		"odd\"double'; DROP; --":     "`odd\"double'; DROP; --`",
		"odd$1 ? {key} {table}":      "`odd$1 ? {key} {table}`",
		"odd\\\n\t%s %d":             "`odd\\\n\t%s %d`",
		"oddä日本語":                    "`oddä日本語`",
		strings.Repeat("oddödd", 10): "`" + strings.Repeat("oddödd", 10) + "`",
		"select":                     "`select`",
	},
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t testing.TB, lifetime time.Duration) session.Options {
		return env.New(t).Init().Options(lifetime)
	})
}

func TestBackend(t *testing.T) { env.Run(t) }
