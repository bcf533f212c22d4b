// Package sqlite keeps sessions in a table of an SQLite database.
//
//	f.Use(session.Sessioner(session.Options{
//		Initer: sqlite.Initer(),
//		Config: sqlite.Config{DSN: "app.db", InitTable: true},
//	}))
//
// # Model
//
// A session is one row: its ID, its encoded data, and when it expires, as text
// in UTC. Every operation is one statement that names the state it expects.
// InitTable makes
//
//	CREATE TABLE sessions (
//		key        TEXT PRIMARY KEY,
//		data       BLOB NOT NULL,
//		expired_at TEXT NOT NULL -- 2006-01-02 15:04:05
//	);
//	CREATE INDEX sessions_expired_at_idx ON sessions (expired_at);
//
// and leaves a table alone that is there, but for an index that is missing. An
// expiry is rounded up to a whole second.
//
// A store writes by one connection, for which its operations queue up: SQLite has
// one writer at a time anyway, and refuses others at once unless told to wait. For
// other processes, a DSN that does not set busy_timeout gets one of 100 ms; after
// that an operation is tried again until its context is done.
//
// Unless the DSN has a journal_mode, the file gets a write-ahead log (journal_mode
// WAL, which stays with the file and puts an "-wal" and an "-shm" file beside it).
// For the change nobody else may use the file: if somebody reads it for longer than
// a second, or if it is read-only, the store makes do with the journal that there
// is, until it is started again. With a WAL 8 more connections read while one
// writes; without, one connection reads and writes.
//
// With a WAL, and unless the DSN has another synchronous, a commit waits for the
// disk only now and then (synchronous NORMAL): a crash of the process loses nothing,
// and a loss of power may take back the last commits but never harms the file.
// "?_pragma=synchronous(FULL)" makes each commit wait. With any other journal it
// does so in any case (FULL, which SQLite has by itself), as with NORMAL a loss of
// power could harm the file. So "?_pragma=journal_mode(DELETE)" is enough to have
// what SQLite does by itself.
//
// In memory (":memory:", "mode=memory") a database lives as long as its
// connection, which is until the store is closed. Such sessions are no other
// store's.
//
// # Errors
//
// The Initer returns an error for a file that cannot be opened, parameters that
// are not valid, and a name that cannot be that of a table. No error holds the
// DSN or any part of it. Without InitTable a missing table is an error of the
// first operation.
//
// # Limits
//
// All processes must be on one machine, and the file not on a network file system.
// A context is looked at between attempts and while waiting for a connection. A
// statement is not interrupted, so a long busy_timeout in the DSN (or of a DB that
// is shared) may hold up an operation beyond its deadline.
package sqlite

import (
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
)

// Config says where the sessions are. DSN or DB must be given.
type Config struct {
	// Lifetime is the duration without access after which a session is recycled.
	// The column holds whole seconds, to which an expiry is rounded up. Default is
	// 3600 seconds, also for values below one second.
	Lifetime time.Duration
	// DSN is the database: the path of a file ("app.db", made if it is missing), a
	// URI ("file:/var/lib/app.db?mode=rw"), or ":memory:". Parameters of
	// modernc.org/sqlite may follow after a "?". Those that are missing default to
	// _pragma=busy_timeout(100), to a write-ahead log if the file can have one, and
	// with such a log to _pragma=synchronous(NORMAL). Default is none, which is an
	// error if there is no DB either.
	DSN string
	// Table is the name of the table, "table" or "schema.table". A part that holds a
	// dot stands in backquotes. Default is "sessions".
	Table string
	// Encoder encodes the data of a session. Default is session.GobEncoder.
	Encoder session.Encoder
	// Decoder decodes what Encoder made. Default is session.GobDecoder.
	Decoder session.Decoder
	// InitTable makes the table and its index where they are missing. Default is
	// false.
	InitTable bool
	// MaxDataSize is the greatest number of bytes of encoded data of one session.
	// Default is 1 MiB.
	MaxDataSize int
	// DB is a pool to share, which the store never closes. The store then ignores
	// DSN, and leaves the settings of the database as they are: give the pool a
	// busy_timeout. Default is a new pool of one connection to DSN, and of 8 more
	// that only read if there is a write-ahead log.
	DB *sql.DB
}

// Initer returns the session.Initer of SQLite, which wants a Config.
func Initer() session.Initer {
	return sqlstore.Initer[Config](&dialect)
}

var dialect = sqlstore.Dialect{
	Name: "sqlite",

	// SQLite takes a name in double quotes that it does not know for a text.
	Quote:   '`',
	Prepare: true,
	// In memory the connection is the database. With a file it is twice as fast as
	// 16 that get in each other's way (64 goroutines, 2 cores), and the slowest
	// operation takes a fifth of the time. Readers of a WAL do not wait: 8 of them
	// take 6 us for a read, 4 take 7.5, one takes 16.
	Single:  true,
	Readers: "SELECT count(*) FROM pragma_journal_mode, pragma_locking_mode WHERE journal_mode = 'wal' AND locking_mode = 'normal'",

	Now:    "datetime('now')",
	Expiry: "datetime('now', ((? + 999) / 1000.0) || ' seconds')",
	Left:   "CAST((julianday({expired_at}) - julianday('now')) * 86400000 AS INTEGER)",

	Sweep: "DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {dead} LIMIT 500)",

	CreateTable: `CREATE TABLE IF NOT EXISTS {table}
		({key} TEXT PRIMARY KEY, {data} BLOB NOT NULL, {expired_at} TEXT NOT NULL)`,
	CreateIndex: "CREATE INDEX IF NOT EXISTS {schema.}{index} ON {bare} ({expired_at})",

	Connector: newConnector,
	Timed:     true, // no statement waits for more than the busy_timeout, and none is long
	DSNFaults: []string{
		"invalid URL escape", "invalid semicolon separator", "conflicting vfs query parameters", "no such vfs",
		"unknown _timezone", "unknown _txlock", "unknown _time_format", "unknown _time_integer_format",
		"unknown _inttotime", "unknown _texttotime", "conflicting DSN parameters",
	},

	ServerError: serverError,
	Codes: map[sqlstore.Class][]string{
		sqlstore.Duplicate: {"19"}, // SQLITE_CONSTRAINT
		sqlstore.NoTable:   {noTable},
		sqlstore.Locked:    {busy, "6"}, // SQLITE_LOCKED is that of a shared cache
	},
}

const (
	busy    = "5"             // SQLITE_BUSY
	noTable = "no such table" // an error without a code of its own
)

func serverError(err error) (code, text string, ok bool) {
	var answer *sqlite.Error
	if !errors.As(err, &answer) {
		return "", "", false
	}
	text = answer.Error()
	if strings.Contains(text, noTable) {
		return noTable, text, true
	}
	return strconv.Itoa(answer.Code() & 0xff), text, true
}
