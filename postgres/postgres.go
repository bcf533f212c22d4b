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
// # Owners
//
// With Options.OwnerKey the table has one more column, and an index on it:
//
//	ALTER TABLE sessions ADD COLUMN owner TEXT COLLATE "C";
//	CREATE INDEX sessions_owner_idx ON sessions (owner) WHERE owner IS NOT NULL;
//
// InitTable adds them to a table of any age. Without InitTable, or if the user may not
// change the table, a missing column is an error at start, which has the two statements. A
// missing index alone is no error: lists read the whole table then. The column is the
// store's: a column owner that is no TEXT or is NOT NULL is an error at start. Processes
// without OwnerKey, and those of the old library, go on using the table. What they insert
// has no owner.
//
// To add the column takes a moment, for which nobody else may use the table. InitTable waits
// for that 200 ms at a time, so that sessions go on while a transaction reads the table for
// long. To make the index blocks all writers until it is made, as it does with the index on
// expired_at. For a large table of a running app do both by hand before the first start,
// the index by
//
//	CREATE INDEX CONCURRENTLY sessions_owner_idx ON sessions (owner) WHERE owner IS NOT NULL;
//
// which blocks nobody. If it fails, it leaves an INVALID index, which has to be dropped. A
// database whose encoding is not UTF8 keeps only owners that the encoding has.
//
// # Errors
//
// The Initer returns an error for a DSN that does not parse, a name that cannot
// be that of a table, and a server that does not answer within 5 seconds: a server that
// is still starting is waited for. The error names the parameter of the DSN that may be
// wrong. No error holds the DSN or any part of it, or the message of the server, which may
// repeat data: the SQLSTATE says more. Without InitTable a missing table is an error
// of the first operation, and of the start with Options.OwnerKey.
//
// An operation is tried again, until its context is done, while the server has no more
// connections for the app (SQLSTATE 53300), takes no writes (25006, as after a failover),
// or somebody else holds a lock on the row. Connections whose server takes no writes are
// closed, so the operation goes on at the server that the address leads to by then.
//
// A load moves to another connection when its own breaks or says nothing for two seconds (a
// quarter of Options.Timeout, if that is more). A write whose answer was lost is not repeated:
// the store looks whether the write was made. So the first request after a restart of the
// server succeeds, and no change is made twice.
//
// If all connections of a DB that is shared are in use until the context is done, the error
// says so: a handler that still holds a transaction when the response begins may be why.
//
// # Limits
//
// A canceled context does not interrupt a statement that runs; its deadline does. An
// operation that waits for a connection ends in both cases. If the context has no
// deadline, or the DB is shared, a canceled context interrupts a statement too.
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
// with "prefer_simple_protocol=true" in the DSN, which a PgBouncer does not need that has
// max_prepared_statements, as 1.21 and later do). A PgBouncer before 1.18 may pass a
// request to cancel on to the statement of somebody else. Reads must go to the primary:
// a replica may show what another request has replaced.
//
// The package registers no driver in database/sql. An app that opens a DB by sql.Open("pgx",
// ...) imports the stdlib package of its own version of pgx.
package postgres

import (
	"database/sql"
	"maps"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/sqlstore/pgdialect"
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
	// InitTable makes the table and its index where they are missing, and with
	// Options.OwnerKey the column and the index of the owner. Default is false.
	InitTable bool
	// MaxDataSize is the greatest number of bytes of encoded data of one session. To
	// save more is an error, and a larger record is not decoded. Default is 1 MiB.
	MaxDataSize int
	// DB is a pool to share, of any driver whose errors have a method SQLState, such as
	// pgx (v4 or v5) and lib/pq. The store never closes it, and ignores DSN. An app that
	// wants to link no other driver has package anydriver. Default is a new pool of up to
	// MaxConns connections to DSN.
	DB *sql.DB
	// MaxConns is the greatest number of connections to DSN. If the server allows fewer,
	// the store makes do with these. A negative number is an error. Default is 16.
	MaxConns int
}

// Initer returns the session.Initer of PostgreSQL, which wants a Config.
func Initer() session.Initer {
	return sqlstore.Initer[Config](&dialect)
}

var dialect = newDialect()

func newDialect() sqlstore.Dialect {
	d := pgdialect.Dialect()
	d.Connector = newConnector
	d.Phrases = []string{
		"failed to parse as URL", "unterminated quoted string", "invalid backslash", "failed to parse as DSN",
		"invalid port", "invalid connect_timeout", "unknown target_session_attrs value", "sslmode is invalid",
		"unable to read CA file", "unable to add CA to cert pool", `both "sslcert" and "sslkey" are required`,
		"unable to read sslkey", "unable to find sslpassword", "unable to decrypt key", "unable to read cert",
		"unable to load cert", "failed to configure TLS", "failed to read service", "cannot parse min_read_buffer_size",
		"cannot parse statement_cache_capacity", "invalid statement_cache_mod", "invalid prefer_simple_protocol",
		"server refused TLS connection", "server does not support SCRAM-SHA-256", "no GSSAPI provider registered",
		"read only connection", "connection is not read only", "server is not in hot standby mode",
		"server is in standby mode", "conn closed", "conn busy", "message body too short",
	}
	d.Parameters = maps.Clone(d.Parameters)
	maps.Copy(d.Parameters, map[string]string{
		"failed to parse as URL": "password (in a URL it must be escaped), host or port",
		"invalid port":           "port", "sslmode is invalid": "sslmode",
		"unable to read CA file": "sslrootcert", "unable to add CA to cert pool": "sslrootcert",
		"unable to read sslkey": "sslkey", "unable to find sslpassword": "sslpassword", "unable to decrypt key": "sslpassword",
		"unable to read cert": "sslcert", "unable to load cert": "sslcert or sslkey", "failed to configure TLS": "sslmode",
		"failed to read service": "service", "server refused TLS connection": "sslmode",
		"server does not support SCRAM-SHA-256": "user or password", "no GSSAPI provider registered": "user",
		"read only connection": "target_session_attrs", "connection is not read only": "target_session_attrs",
		"server is not in hot standby mode": "target_session_attrs", "server is in standby mode": "target_session_attrs",
	})
	return d
}
