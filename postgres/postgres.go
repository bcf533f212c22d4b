// Package postgres keeps sessions in a table of PostgreSQL.
//
//	f.Use(session.Sessioner(session.Options{
//		Initer: postgres.Initer(),
//		Config: postgres.Config{DSN: os.Getenv("DATABASE_URL"), InitTable: true},
//	}))
//
// # Model
//
// A session is one row: its ID, its encoded data, and when it expires, by the
// clock of the server. Every operation is one statement that names the state it
// expects, so instances of an app share a table without locks or transactions.
// InitTable makes
//
//	CREATE TABLE sessions (
//		key        TEXT PRIMARY KEY,
//		data       BYTEA NOT NULL,
//		expired_at TIMESTAMPTZ NOT NULL
//	);
//	CREATE INDEX sessions_expired_at_idx ON sessions (expired_at);
//
// If the table is there already, InitTable only adds the index if that is missing.
// Expired rows are deleted 500 at a time. Rows that are locked are left for later.
//
// # Errors
//
// The Initer returns an error for a DSN that does not parse, a name that cannot
// be that of a table, and a server that does not answer within 5 seconds. No
// error holds the DSN or any part of it. Without InitTable a missing table is an
// error of the first operation.
//
// An operation is tried again, until its context is done, while the server has no more
// connections for the app (SQLSTATE 53300), takes no writes (25006, as after a failover),
// or somebody else holds a lock on the row. Connections whose server takes no writes are
// closed, so the operation goes on at the server that the address leads to by then.
//
// A load goes on on another connection when its own breaks or says nothing for two seconds
// (a quarter of Options.Timeout, if that is more). A write whose answer was lost is not
// repeated: the store looks whether the write was made. So the first request after a
// restart of the server succeeds, and no change is made twice.
//
// If all connections of a DB that is shared are in use until the context is done, the error
// says so: a handler that still holds a transaction when the response begins may be why.
//
// # Limits
//
// A cancelled context does not interrupt a statement that runs; its deadline does. An
// operation that waits for a connection ends in both cases. If the context has no
// deadline, or the DB is shared, a cancelled context interrupts a statement too.
//
// At the deadline the server is asked, on another connection, to cancel the statement, as
// "psql" does. So no lock is waited for any longer, and the connection stays. The store
// sets no lock_timeout: through a PgBouncer that would be a setting of others as well.
//
// A pool that the store opens closes a connection that was not used for 2 minutes, since
// balancers drop those without a word. When a connection says nothing, all that were idle
// as long are closed too. All this is for the store's own pool: a DB that is shared has the
// settings of the app, SetConnMaxIdleTime for one.
//
// PostgreSQL 9.5 or later, directly or behind a PgBouncer (in transaction mode
// with "prefer_simple_protocol=true" in the DSN). Reads must go to the primary:
// a replica may show what another request has replaced.
//
// The package registers no driver in database/sql. An app that opens a DB by sql.Open("pgx",
// ...) imports the stdlib package of its own version of pgx.
package postgres

import (
	"database/sql"
	"errors"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
)

// Config says where the sessions are. DSN or DB must be given.
type Config struct {
	// Lifetime is the duration without access after which a session ends.
	// Default is 3600 seconds, also for values below one second.
	Lifetime time.Duration
	// DSN is the address of the server, as a URL
	// ("postgres://user:password@host:5432/database?sslmode=verify-full") or as
	// keywords ("host=... user=..."). What it leaves out is taken from the
	// environment variables PGHOST, PGUSER and so on. Default is none, which is an
	// error if there is no DB either.
	DSN string
	// Table is the name of the table, "table" or "schema.table". Case matters. A
	// part that holds a dot stands in double quotes. Default is "sessions".
	Table string
	// Encoder encodes the data of a session. Default is session.GobEncoder.
	Encoder session.Encoder
	// Decoder decodes what Encoder made. Default is session.GobDecoder.
	Decoder session.Decoder
	// InitTable makes the table and its index where they are missing. Default is
	// false.
	InitTable bool
	// MaxDataSize is the greatest number of bytes of encoded data of one session. To
	// save more is an error, and a larger record is not decoded. Default is 1 MiB.
	MaxDataSize int
	// DB is a pool to share, which the store never closes. The store then ignores
	// DSN. Default is a new pool of up to MaxConns connections to DSN.
	DB *sql.DB
	// MaxConns is the greatest number of connections to DSN. If the server allows fewer,
	// the store does with these. Default is 16. To be negative is an error.
	MaxConns int
}

// Initer returns the session.Initer of PostgreSQL, which wants a Config.
func Initer() session.Initer {
	return sqlstore.Initer[Config](&dialect)
}

var dialect = sqlstore.Dialect{
	Name: "postgres",

	// The server cuts longer names off and goes on with another table.
	Quote: '"', MaxName: 63, NameLength: func(s string) int { return len(s) },
	Numbered: true, Remote: true,

	Now:    "now()",
	Expiry: "now() + ?::bigint * interval '1 millisecond'",
	Left:   "floor(extract(epoch FROM {expired_at} - now()) * 1000)::bigint",

	// An array is read once. IN might read the keys again for each row, and so delete
	// more than the limit. ORDER BY makes the server use the index: otherwise it may
	// overestimate the number of dead rows, and read the whole table to find some.
	Sweep: `DELETE FROM {table} WHERE {dead} AND {key} = ANY (ARRAY(
		SELECT {key} FROM {table} WHERE {dead} ORDER BY {expired_at} LIMIT {sweep limit} FOR UPDATE SKIP LOCKED))`,

	CreateTable: `CREATE TABLE IF NOT EXISTS {table}
		({key} TEXT PRIMARY KEY, {data} BYTEA NOT NULL, {expired_at} TIMESTAMPTZ NOT NULL)`,
	CreateIndex: "CREATE INDEX IF NOT EXISTS {index} ON {table} ({expired_at})",
	// CREATE INDEX IF NOT EXISTS would wait for writers before it looks for the index.
	HasIndex: `SELECT count(*) FROM pg_index i
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
		WHERE i.indrelid = to_regclass(concat_ws('.', quote_ident(nullif(?::text, '')), quote_ident(?::text)))
		AND a.attname = 'expired_at'`,

	Connector: newConnector,
	Timed:     true,
	DSNFaults: []string{
		"invalid port", "invalid connect_timeout", "unknown target_session_attrs value", "failed to configure TLS",
		"failed to read service", "cannot parse min_read_buffer_size", "cannot parse statement_cache_capacity",
		"invalid statement_cache_mod", "invalid prefer_simple_protocol",
		"failed to parse as URL", "failed to parse as DSN",
	},
	ServerError: serverError,
	Codes: map[sqlstore.Class][]string{
		sqlstore.Duplicate: {"23505"},
		sqlstore.NoTable:   {"42P01"},
		// Serialization failure, deadlock, a cached plan for a table that has changed,
		// a prepared statement that is on another connection.
		sqlstore.Again: {"40001", "40P01", "0A000", "26000"},
		// A lock timeout, a statement that was cancelled: see connector.Connect.
		sqlstore.Locked: {"55P03", "57014"},
		// Too many connections, of all users or of one.
		sqlstore.Full:     {"53300"},
		sqlstore.ReadOnly: {"25006"},
		// Shutdown, crash, a database that is dropped, idle_session_timeout. The server says
		// so before it closes a connection, and the next operation on that connection
		// reads it. PgBouncer says 08P01 of the server behind it.
		sqlstore.Broken: {"57P01", "57P02", "57P04", "57P05", "08000", "08003", "08006", "08P01", "40003"},
	},
}

// serverError finds the errors of both pgx and lib/pq, by the method that they have in
// common. The error of pgx may be inside an error that repeats half of the DSN.
func serverError(err error) (code, text string, ok bool) {
	var answer interface {
		error
		SQLState() string
	}
	if !errors.As(err, &answer) {
		return "", "", false
	}
	return answer.SQLState(), answer.Error(), true
}
