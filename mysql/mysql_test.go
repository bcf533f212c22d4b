package mysql_test

import (
	"context"
	"strings"
	"testing"

	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/mysql"
)

func TestMain(m *testing.M) { testserver.Main(m) }

var ctx = context.Background()

func config(c sqlstore.Config) interface{} {
	return mysql.Config{
		Lifetime: c.Lifetime, DSN: c.DSN, Table: c.Table, Encoder: c.Encoder, Decoder: c.Decoder,
		InitTable: c.InitTable, MaxDataSize: c.MaxDataSize, DB: c.DB, MaxConns: c.MaxConns,
	}
}

var env = &sqltest.Env{
	Dialect:  mysql.Dialect,
	Driver:   "mysql",
	Initer:   mysql.Initer(),
	Config:   config,
	DSN:      testserver.MySQL,
	OldTable: "CREATE TABLE %s (`key` VARCHAR(255) NOT NULL, `data` BLOB NOT NULL, `expired_at` DATETIME NOT NULL, PRIMARY KEY (`key`)) DEFAULT CHARSET=utf8",
	Time:     "(UTC_TIMESTAMP() + INTERVAL %d SECOND)",
	HasIndex: `SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE()
		AND table_name = '%s' AND column_name = 'expired_at' AND seq_in_index = 1`,
	Explain: "EXPLAIN ", Analyze: "ANALYZE TABLE %T",
	Schema: "test",
	Long:   strings.Repeat("oddödd64", 8),
}

func TestBackend(t *testing.T) { env.Run(t) }

func TestNthCallFails(t *testing.T) { env.NthCallFails(t) }

func TestAllocations(t *testing.T) { env.Allocations(t, 9) }
