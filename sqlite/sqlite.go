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
// If the table is there already, InitTable only adds the index if that is missing. An
// expiry is rounded up to a whole second.
//
// With Options.OwnerKey the table has one more column, and an index on it:
//
//	ALTER TABLE sessions ADD COLUMN owner TEXT;
//	CREATE INDEX sessions_owner_idx ON sessions (owner) WHERE owner IS NOT NULL;
//
// InitTable adds them to a table of any age. Without InitTable, or if the file cannot be
// written, a missing column is an error at start, which has the two statements. A missing index
// alone is no error: lists read the whole table then. The column belongs to the store: it is an
// error at start if the table has a column owner already that is no TEXT or is NOT NULL.
// Processes without OwnerKey, and those of the old library, go on using the table. What they
// insert has no owner.
//
// A store has one connection that writes, and its writes wait for each other. SQLite allows
// only one writer at a time anyway: it refuses a write while another process writes, unless it
// is told to wait. So a DSN without a busy_timeout gets a busy_timeout of 100 ms. If that is
// not enough, the store tries the operation again, until its context is done.
//
// Unless the DSN has a journal_mode, the store gives the file a write-ahead log: the
// journal_mode WAL, which stays with the file and puts an "-wal" and an "-shm" file
// beside it. During this change nobody else may use the file. If somebody reads the file
// for longer than a second, or if the file is read-only, the store keeps the journal
// that there is, and tries the change again at its next start. With a WAL, 8 more
// connections read while one writes (see MaxConns). A read that finds nobody writing uses the
// connection that writes, which has in its cache what it has written. Without a WAL, one
// connection reads and writes.
//
// With a WAL the store sets synchronous to NORMAL, unless the DSN has a synchronous. A
// commit then waits for the disk only now and then. A crash of the process loses
// nothing. A loss of power may undo the last commits, but never damages the file.
// "?_pragma=synchronous(FULL)" makes each commit wait for the disk.
//
// With any other journal, synchronous stays FULL, which is the default of SQLite: with
// NORMAL a loss of power could damage the file. So "?_pragma=journal_mode(DELETE)" is
// enough to get all the defaults of SQLite.
//
// A database in memory (":memory:", "mode=memory") lives as long as its connection,
// which is until the store is closed. No other store can use its sessions.
//
// # Another file in its place
//
// If another file is put in the place of the database while the store uses it, for example to
// restore a backup, the store goes on with the new file. The next write goes there, and reads
// do after 0.2 ms. The store removes the "-wal" and "-shm" file of the old one, which must not
// be applied to the new one. While there is no file, each operation is an error, and no file is
// made. Put the new file there by a rename. Nothing can tell that the bytes of the open file
// are overwritten, as "cp" does: that damages any database of SQLite. With a DB, all this is up
// to the app.
//
// # Errors
//
// The Initer returns an error for a file that cannot be opened, for parameters that the driver
// refuses, and for a name that cannot be that of a table. (SQLite says nothing about a pragma
// that it does not know, such as one with a typo.) No error holds any part of the DSN, or the
// message of SQLite, which may repeat data. Instead it has the code of SQLite, and what the
// code means. Without InitTable a missing table is an error of the first operation, and of the
// start with Options.OwnerKey. If somebody else writes for as long as the operation may take,
// the error says so. It may be the handler itself, by a transaction that is still open when the
// response begins.
//
// # Limits
//
// All processes must be on one machine, and the file must not be on a network file
// system. An operation heeds its context while it waits for a connection and between
// attempts, but a statement is not interrupted. So a long busy_timeout, in the DSN or of
// a shared DB, may hold up an operation beyond its deadline.
package sqlite

import (
	"database/sql"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/sqlstore/sqlitedialect"
)

// Config says where the sessions are. DSN or DB must be given.
type Config struct {
	// Lifetime is the duration without access after which a session ends.
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
	// InitTable makes the table and its index where they are missing, and with
	// Options.OwnerKey the column and the index of the owner. Default is false.
	InitTable bool
	// MaxDataSize is the greatest number of bytes of encoded data of one session. To
	// save more is an error, and a larger record is not decoded. Default is 1 MiB.
	MaxDataSize int
	// DB is a pool to share, of modernc.org/sqlite or mattn/go-sqlite3, which the store
	// never closes. The store then ignores DSN, and leaves the settings of the database as
	// they are: give the pool a busy_timeout. Default is a new pool of up to MaxConns
	// connections to DSN.
	DB *sql.DB
	// MaxConns is the greatest number of connections to DSN. One of them writes, and reads while
	// nobody writes; the others only read. Without a write-ahead log there is just the one. A
	// negative number is an error. Default is 9.
	MaxConns int
}

// Initer returns the session.Initer of SQLite, which wants a Config.
func Initer() session.Initer {
	return sqlstore.Initer[Config](&dialect)
}

var dialect = newDialect()

func newDialect() sqlstore.Dialect {
	d := sqlitedialect.Dialect()
	d.Connector = newConnector
	d.Phrases = []string{
		"invalid URL escape", "invalid semicolon separator", "conflicting vfs query parameters",
		"unknown _timezone", "unknown _txlock", "unknown _time_format", "unknown _time_integer_format",
		"unknown _inttotime", "unknown _texttotime", "conflicting DSN parameters", "invalid _dqs",
		"invalid _defensive", "_defensive must be specified exactly once", "invalid _error_rc",
		"invalid _busy_timeout", "invalid _timeout", "invalid _auto_vacuum", "invalid _vacuum", "invalid _foreign_keys",
		"invalid _fk", "invalid _journal_mode", "invalid _journal", "invalid _synchronous", "invalid _sync", "invalid _query_only",
	}
	return d
}
