package postgres_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testserver"
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
	OddNames: map[string]string{
		"public.odd_qualified":       `public.odd_qualified`,
		`"public"."odd.dot"`:         `public."odd.dot"`,
		"Odd Spaces":                 `"Odd Spaces"`,
		`odd"quote`:                  `"odd""quote"`,
		`"odd""quoted"`:              `"odd""quoted"`,
		`"odd`:                       `"""odd"`,
		`odd'; DROP TABLE x; --`:     `"odd'; DROP TABLE x; --"`,
		"odd$1 ? $$ {key} {table}":   `"odd$1 ? $$ {key} {table}"`,
		"odd\\\n\t%s %d":             "\"odd\\\n\t%s %d\"",
		"oddä日本語😀":                   `"oddä日本語😀"`,
		strings.Repeat("odd63by", 9): `"` + strings.Repeat("odd63by", 9) + `"`,
		"select":                     `"select"`,
	},
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t testing.TB, lifetime time.Duration) session.Options {
		return env.New(t).Init().Options(lifetime)
	})
}

func TestBackend(t *testing.T) { env.Run(t) }
