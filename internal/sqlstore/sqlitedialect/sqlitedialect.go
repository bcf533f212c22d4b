// Package sqlitedialect is SQLite for package sqlstore, but for the driver.
package sqlitedialect

import "github.com/flamego/session/internal/sqlstore"

// Dialect returns the dialect, which has no Connector.
func Dialect() sqlstore.Dialect { return dialect }

var dialect = sqlstore.Dialect{
	Name: "sqlite",

	// Not double quotes: if SQLite does not know a name in them, it takes the name for
	// a text.
	Quote:   '`',
	Prepare: true,
	// In memory, the connection is the database. With a file, one connection that writes
	// is twice as fast as 16 that get in each other's way (64 goroutines, 2 cores), and
	// its slowest operation takes a fifth of the time. With a WAL, readers do not wait
	// for the writer: a read takes 6 us with 8 readers, 7.5 with 4, 16 with one.
	Single:  true,
	Readers: "SELECT count(*) FROM pragma_journal_mode, pragma_locking_mode WHERE journal_mode = 'wal' AND locking_mode = 'normal'",

	Now:    "datetime('now')",
	Expiry: "datetime('now', ((? + 999) / 1000.0) || ' seconds')",
	Left:   "CAST((julianday({expired_at}) - julianday('now')) * 86400000 AS INTEGER)",

	Sweep: "DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {dead} LIMIT {sweep limit})",

	CreateTable: `CREATE TABLE IF NOT EXISTS {table}
		({key} TEXT PRIMARY KEY, {data} BLOB NOT NULL, {expired_at} TEXT NOT NULL)`,
	CreateIndex: "CREATE INDEX IF NOT EXISTS {schema.}{index} ON {bare} ({expired_at})",

	OwnerType:        "TEXT",
	CreateOwnerIndex: "CREATE INDEX IF NOT EXISTS {schema.}{owner index} ON {bare} ({owner}) WHERE {owner} IS NOT NULL",
	OwnerFits: `SELECT min(c."notnull" = 0 AND c.hidden = 0 AND c.type NOT LIKE '%INT%'
		AND (c.type LIKE '%TEXT%' OR c.type LIKE '%CHAR%' OR c.type LIKE '%CLOB%'))
		FROM (SELECT ? AS s, ? AS t) AS n, pragma_table_xinfo(n.t, nullif(n.s, '')) AS c
		WHERE lower(c.name) = 'owner'`,

	Timed: true, // no statement takes long, or waits for longer than the busy_timeout

	ServerError: serverError,
	Codes: map[sqlstore.Class][]string{
		// PRIMARYKEY and UNIQUE, and SQLITE_CONSTRAINT without saying which.
		sqlstore.Duplicate: {"1555", "2067", constraint},
		sqlstore.NoTable:   {noTable},
		sqlstore.NoColumn:  {noColumn},
		sqlstore.Locked:    {busy, locked},
	},
	Parameters: map[string]string{
		"1": "_pragma", "3": "path", "8": "path, or mode", "14": "path, or mode", "23": "path", "26": "path", noVFS: "vfs",
		"invalid URL escape": "a parameter after the ?", "invalid semicolon separator": "a parameter after the ?",
	},
}
