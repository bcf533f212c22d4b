package bench

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	// The drivers of the packages below; these import them too.
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v4/stdlib"
	_ "modernc.org/sqlite"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/mysql"
	"github.com/flamego/session/postgres"
	"github.com/flamego/session/sqlite"
)

// poolSize is the greatest number of connections of each pool. It is that of the
// pools that this library opens, and so are the times after which connections
// are renewed. On SQLite the peers and the bare driver have one connection, with
// which they are faster in all cases, up to three times.
const (
	poolSize     = 16
	poolIdleTime = 5 * time.Minute
	poolLifetime = 30 * time.Minute
)

// database is an SQL database: how to open it, this library's store on it, the
// table and the statements of scs.
type database struct {
	name, driver string
	pool         int
	dsn          func(tb testing.TB) string // where to make tables
	options      func(dsn, table string) session.Options
	version      string // a query

	// From the documentation of scs's mysqlstore, postgresstore and sqlite3store.
	create         []string
	find, put, del string
	prepare        bool

	// For tables of many rows: what our table and that of scs keep for %d seconds
	// from now, a number as text, the parameter with the data, and what leaves the
	// database nothing to do later.
	time, scsTime, text, data string
	settle                    []string
}

// open opens a pool that is like those of this library.
func (d *database) open(tb testing.TB, dsn string) *sql.DB {
	tb.Helper()
	db := must[*sql.DB](tb)(sql.Open(d.driver, dsn))
	tb.Cleanup(func() { check(tb, db.Close()) })
	db.SetMaxOpenConns(d.pool)
	db.SetMaxIdleConns(d.pool)
	db.SetConnMaxIdleTime(poolIdleTime)
	db.SetConnMaxLifetime(poolLifetime)
	return db
}

// configure prints the version of the server.
func (d *database) configure(tb testing.TB, dsn string) {
	tb.Helper()
	var version string
	check(tb, d.open(tb, dsn).QueryRow(d.version).Scan(&version))
	configure(d.name, version)
}

// addRows adds rows to a table by one statement. The columns are expressions of {n},
// which goes from one number to the last before another one. It adds them in the order
// of their keys, the first column: at random places it takes many times as long.
func (d *database) addRows(tb testing.TB, db *sql.DB, table, columns string, from, to int, args ...interface{}) {
	tb.Helper()
	// A thousand at a time, as an old MariaDB recurses no deeper.
	const batch = 1000
	count := to - from
	text := fmt.Sprintf(`INSERT INTO %s
		WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		SELECT %s FROM n a CROSS JOIN n b WHERE a.i <= %d AND a.i * %[5]d + b.i < %[6]d ORDER BY 1`,
		table, batch-1, columns, count/batch, batch, count)
	number := fmt.Sprintf("(a.i * %d + b.i + %d)", batch, from)
	_, err := db.Exec(strings.ReplaceAll(text, "{n}", fmt.Sprintf(d.text, number)), args...)
	check(tb, err)
}

// sqliteParams are for all users of SQLite alike.
const sqliteParams = "?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(10000)&_time_format=sqlite"

var sqliteDB = &database{
	name: "sqlite", driver: "sqlite", pool: 1,
	dsn: func(tb testing.TB) string { return filepath.Join(tb.TempDir(), "app.db") + sqliteParams },
	options: func(dsn, table string) session.Options {
		return session.Options{Initer: sqlite.Initer(), Config: sqlite.Config{DSN: dsn, Table: table, InitTable: true}}
	},
	version: "SELECT sqlite_version()",
	create: []string{
		"CREATE TABLE {table} (token TEXT PRIMARY KEY, data BLOB NOT NULL, expiry REAL NOT NULL)",
		"CREATE INDEX {table}_expiry_idx ON {table} (expiry)",
	},
	find:    "SELECT data FROM {table} WHERE token = $1 AND julianday('now') < expiry",
	put:     "REPLACE INTO {table} (token, data, expiry) VALUES ($1, $2, julianday($3))",
	del:     "DELETE FROM {table} WHERE token = $1",
	prepare: true,
	time:    "datetime('now', '%d seconds')", scsTime: "julianday('now', '%d seconds')",
	text: "CAST(%s AS TEXT)", data: "?", settle: []string{"PRAGMA wal_checkpoint(TRUNCATE)"},
}

var postgresDB = &database{
	name: "postgres", driver: "pgx", pool: poolSize,
	dsn: testserver.Postgres,
	options: func(dsn, table string) session.Options {
		return session.Options{Initer: postgres.Initer(), Config: postgres.Config{DSN: dsn, Table: table, InitTable: true}}
	},
	version: "SHOW server_version",
	create: []string{
		"CREATE TABLE {table} (token TEXT PRIMARY KEY, data BYTEA NOT NULL, expiry TIMESTAMPTZ NOT NULL)",
		"CREATE INDEX {table}_expiry_idx ON {table} (expiry)",
	},
	find: "SELECT data FROM {table} WHERE token = $1 AND current_timestamp < expiry",
	put: "INSERT INTO {table} (token, data, expiry) VALUES ($1, $2, $3) " +
		"ON CONFLICT (token) DO UPDATE SET data = EXCLUDED.data, expiry = EXCLUDED.expiry",
	del:  "DELETE FROM {table} WHERE token = $1",
	time: "now() + interval '%d seconds'", scsTime: "now() + interval '%d seconds'",
	text: "CAST(%s AS TEXT)", data: "CAST($1 AS BYTEA)", settle: []string{"VACUUM ANALYZE {table}", "CHECKPOINT"},
}

var mysqlDB = &database{
	name: "mysql", driver: "mysql", pool: poolSize,
	dsn: testserver.MySQL,
	options: func(dsn, table string) session.Options {
		return session.Options{Initer: mysql.Initer(), Config: mysql.Config{DSN: dsn, Table: table, InitTable: true}}
	},
	version: "SELECT VERSION()",
	create: []string{
		"CREATE TABLE {table} (token CHAR(43) PRIMARY KEY, data BLOB NOT NULL, expiry TIMESTAMP(6) NOT NULL)",
		"CREATE INDEX {table}_expiry_idx ON {table} (expiry)",
	},
	find: "SELECT data FROM {table} WHERE token = ? AND UTC_TIMESTAMP(6) < expiry",
	put: "INSERT INTO {table} (token, data, expiry) VALUES (?, ?, ?) " +
		"ON DUPLICATE KEY UPDATE data = VALUES(data), expiry = VALUES(expiry)",
	del:     "DELETE FROM {table} WHERE token = ?",
	prepare: true,
	time:    "UTC_TIMESTAMP() + INTERVAL %d SECOND", scsTime: "UTC_TIMESTAMP(6) + INTERVAL %d SECOND",
	text: "CAST(%s AS CHAR)", data: "?", settle: []string{"ANALYZE TABLE {table}"},
}
