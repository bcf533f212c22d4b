// Package mysql keeps sessions in a table of MySQL or MariaDB.
//
//	f.Use(session.Sessioner(session.Options{
//		Initer: mysql.Initer(),
//		Config: mysql.Config{DSN: os.Getenv("MYSQL_DSN"), InitTable: true},
//	}))
//
// # Model
//
// A session is one row: its ID, its encoded data, and when it expires, by the clock of the
// server. Every operation is one statement that names
// the state it expects, so instances of an app share a table without locks or
// transactions. InitTable makes
//
//	CREATE TABLE sessions (
//		`key`      VARCHAR(255) PRIMARY KEY,
//		data       BLOB NOT NULL,
//		expired_at DATETIME NOT NULL
//	);
//	CREATE INDEX sessions_expired_at_idx ON sessions (expired_at);
//
// If the table is there already, InitTable only adds the index if that is missing.
// Where InitTable is not used, make the index by hand: without it, to delete what has
// expired locks every row. DATETIME keeps whole seconds, to which an expiry is rounded
// up. Where an index cannot be so long, as with MyISAM or an old row format, the key is
// made of ASCII.
//
// # Owners
//
// With Options.OwnerKey the table has one more column, and an index on it:
//
//	ALTER TABLE sessions ADD COLUMN owner
//		VARCHAR(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL;
//	CREATE INDEX sessions_owner_idx ON sessions (owner);
//
// InitTable adds them to a table of any age. Without InitTable, or if the user may not
// change the table, a missing column is an error at start, which has the two statements. A
// missing index alone is no error: lists read the whole table then. The column is the
// store's: a column owner that is shorter, NOT NULL, or not of utf8mb4_bin is an error at
// start. Processes without OwnerKey, and those of the old library, go on using the table.
// What they insert has no owner.
//
// To add the column takes a moment from MySQL 8.0.12 and MariaDB 10.3 on. Before, the server
// copies the table, and while it makes the index it reads the table, beside requests that
// read and write. So for a large table run both statements by hand before the first start,
// which has a minute for them. A transaction that uses the table holds up the change, and the
// change whoever comes after it: for a second at a time, unless a DB is shared whose DSN has
// no "lock_wait_timeout=1".
//
// # The zone of expired_at
//
// A DATETIME has no zone. As with other programs that write times by go-sql-driver/mysql,
// the existing library among them, expired_at is wall time in the loc of the DSN. Default
// is UTC. With a DB, which does not tell its loc, Config.Location says the zone. All
// programs that use a table must have the same.
//
// The rules of the zone are those of the app, for 40 years from its start: only the clock
// of the server counts, but not its tables of zones. In the hour that comes twice when the
// clocks are set back, a session may live an hour longer, and none ends early. GC deletes
// it when that hour is over.
//
// # Errors
//
// The Initer returns an error for a DSN that does not parse, a name that cannot
// be that of a table, and a server that does not answer within 5 seconds: a server that
// is still starting is waited for. The error names the parameter of the DSN that may be
// wrong. No error holds the DSN or any part of it, or the message of the server, which may
// repeat data: the number of the error says more. Without InitTable a missing table is an
// error of the first operation, and of the start with Options.OwnerKey. Data that the column cannot hold is refused before it is
// sent, because a server that is not in strict mode would cut it off.
//
// An operation is tried again, until its context is done, while the server has no more
// connections for the app (errors 1040, 1203, 1226), takes no writes (1290, 1792, 1836, as
// after a failover), or somebody else holds a lock on the row (1205). Connections whose
// server takes no writes are closed, so the operation goes on at the server that the
// address leads to by then. If the server prepares no more statements (1461,
// max_prepared_stmt_count), the store does without for a minute at a time.
//
// A load moves to another connection when its own breaks or says nothing for two seconds (a
// quarter of Options.Timeout, if that is more). A write whose answer was lost is not repeated:
// the store looks whether the write was made. So the first request after a restart of the
// server succeeds, and no change is made twice.
//
// If all connections of a DB that is shared are in use until the context is done, the error
// says so: a handler that still holds a transaction when the response begins may be why.
//
// # Settings
//
// On the connections of its own pool the store sets autocommit to 1, and to 1 second the
// variables innodb_lock_wait_timeout and lock_wait_timeout, unless the DSN sets them. The
// server goes on waiting for a lock when the client has given up, by default for 50 seconds,
// and holds a connection all the time. Options.Timeout should be 3 seconds or more, since
// the server counts whole seconds. For a DB that is shared, add
// "innodb_lock_wait_timeout=1" to its DSN.
//
// A pool that the store opens closes a connection that was not used for 2 minutes, since
// balancers drop those without a word. When a connection says nothing, all that were idle
// as long are closed too. A DB that is shared has the settings of the app: its
// SetConnMaxIdleTime should be 2 minutes, its DSN have a readTimeout.
//
// Connections to tcp(...) and unix(...) have the deadline of an operation. A dial function
// that the app has registered is used under any other name, and so are readTimeout and
// writeTimeout; then the driver watches each operation, which takes a little longer.
//
// # Limits
//
// MySQL 5.7 or MariaDB 10.2 or later. Reads must go to the primary. The size of the
// column is read at start. If there is no table then, the size is taken to be that of a
// BLOB. Data must also fit into half of max_allowed_packet, since a change sends both
// the old data and the new.
//
// A canceled context does not interrupt a statement that runs; its deadline does. An
// operation that waits for a connection ends in both cases. If the context has no
// deadline, or the DB is shared, a canceled context interrupts a statement too.
package mysql

import (
	"context"
	"database/sql"
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
)

// Config says where the sessions are. DSN or DB must be given.
type Config struct {
	// Lifetime is the duration without access after which a session ends.
	// The column holds whole seconds, to which an expiry is rounded up. Default is
	// 3600 seconds, also for values below one second.
	Lifetime time.Duration
	// DSN is the address of the server in the form of go-sql-driver/mysql,
	// "user:password@tcp(host:3306)/database". The store needs no parameter in it,
	// and none does harm. Default is none, which is an error if there is no DB
	// either.
	DSN string
	// Table is the name of the table, "table" or "database.table". A part that holds
	// a dot stands in backquotes. Default is "sessions".
	Table string
	// Encoder encodes the data of a session. Default is session.GobEncoder.
	Encoder session.Encoder
	// Decoder decodes what Encoder made. Default is session.GobDecoder.
	Decoder session.Decoder
	// InitTable makes the table and its index where they are missing, and with
	// Options.OwnerKey the column and the index of the owner. Default is false.
	InitTable bool
	// MaxDataSize is the greatest number of bytes of encoded data of one session. To
	// save more is an error, and a larger record is not decoded. A column that holds
	// less lowers this limit: a BLOB, which InitTable makes, holds 65,535 bytes. Default
	// is 1 MiB.
	MaxDataSize int
	// DB is a pool to share, which the store never closes. The store then ignores
	// DSN. Default is a new pool of up to MaxConns connections to DSN.
	DB *sql.DB
	// MaxConns is the greatest number of connections to DSN. If the server allows fewer,
	// the store makes do with these. A negative number is an error. Default is 16.
	MaxConns int
	// Location is the zone in whose wall time expired_at is kept: that of the other
	// programs that use the table, which is the loc of their DSNs. Default is the loc of
	// the DSN, and with a DB it is UTC.
	Location *time.Location
}

// Initer returns the session.Initer of MySQL, which wants a Config.
func Initer() session.Initer {
	return session.NewIniter(open)
}

func open(ctx context.Context, config Config) (session.Backend, session.StoreConfig, error) {
	// Without names of fields, a field that is forgotten does not compile.
	return inZone(dialect, location(config), time.Now()).Open(ctx, sqlstore.Config{
		config.Lifetime, config.DSN, config.Table, config.Encoder, config.Decoder,
		config.InitTable, config.MaxDataSize, config.DB, config.MaxConns,
	})
}

var dialect = sqlstore.Dialect{
	Name: "mysql",

	Quote: '`', MaxName: 64, NameLength: utf8.RuneCountInString,
	Prepare: true, Remote: true, Timed: true, Literal: literal,

	// Expiry rounds up to whole seconds by itself: the server would cut off a fraction
	// or round it, depending on its settings. UTC_TIMESTAMP() and UTC_TIMESTAMP(6) both
	// return the time at which the statement began, so the seconds of the first and the
	// fraction of the second belong to the same time.
	Now:    "UTC_TIMESTAMP(6)",
	Expiry: "UTC_TIMESTAMP() + INTERVAL (MICROSECOND(UTC_TIMESTAMP(6)) + ? * 1000 + 999999) DIV 1000000 SECOND",
	Left:   "TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), {expired_at}) DIV 1000",
	Clock:  "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000",

	// ON DUPLICATE KEY UPDATE would not do: on a connection with clientFoundRows it
	// counts one row both when it has inserted a row and when it has left a row alone.
	Insert: "INSERT INTO {table} ({key}, {data}, {expired_at}{, owner}) VALUES (?, ?, {expiry}{, owner value})",

	// A DELETE by expired_at locks the gaps of the index up to the first live row. So
	// SweepKeys reads the keys, which takes no locks, and SweepDelete deletes by key. The
	// addition of 0 seconds keeps the server from using the index in SweepDelete.
	SweepKeys:   "SELECT {key} FROM {table} WHERE {dead} LIMIT {sweep limit}",
	SweepDelete: "DELETE FROM {table} WHERE {key} IN ({sweep keys}) AND {expired_at} + INTERVAL 0 SECOND <= {now}",

	CreateTable: "CREATE TABLE IF NOT EXISTS {table} " +
		"({key} VARCHAR(255) PRIMARY KEY, {data} BLOB NOT NULL, {expired_at} DATETIME NOT NULL)",
	// Session IDs are ASCII.
	CreateShort: "CREATE TABLE IF NOT EXISTS {table} " +
		"({key} VARCHAR(255) CHARACTER SET ascii PRIMARY KEY, {data} BLOB NOT NULL, {expired_at} DATETIME NOT NULL)",
	CreateIndex: "CREATE INDEX {index} ON {table} ({expired_at})",
	HasIndex: `SELECT COUNT(*) FROM information_schema.statistics
		WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND table_name = ?
		AND column_name = '{column}' AND seq_in_index = 1`,
	OwnerType:        "VARCHAR(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL",
	CreateOwnerIndex: "CREATE INDEX {owner index} ON {table} ({owner})",
	OwnerFits: `SELECT MIN(COALESCE(data_type = 'varchar' AND character_maximum_length >= 190
		AND collation_name = 'utf8mb4_bin' AND is_nullable = 'YES' AND extra NOT LIKE '%GENERATED%', 0))
		FROM information_schema.columns
		WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND table_name = ? AND column_name = 'owner'`,
	// In hexadecimal an owner is the same whatever the character set of the connection. The
	// server takes the collation of the column, and so its index.
	OwnerValue: "CONVERT(UNHEX(?) USING utf8mb4) COLLATE utf8mb4_bin", HexOwner: true,
	Capacity: `SELECT LEAST(@@max_allowed_packet DIV 2 - 4096, COALESCE((
		SELECT character_octet_length FROM information_schema.columns
		WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND table_name = ?
		AND column_name = 'data'), 65535))`,

	Connector:    newConnector,
	ServerError:  serverError,
	Phrases:      phrases,
	Parameters:   parameters,
	BadParameter: badParameter,
	TLS:          "tls",
	Codes: map[sqlstore.Class][]string{
		sqlstore.Duplicate: {"1062"},
		sqlstore.NoTable:   {"1146"},
		sqlstore.NoColumn:  {"1054"},
		// Conflict of snapshots (MariaDB), deadlock, a prepared statement for a table that
		// has changed or on another server, a statement that the server has ended because it
		// took too long (MariaDB's max_statement_time, MySQL's max_execution_time).
		sqlstore.Again: {"1020", "1213", "1615", "1243", "1969", "3024"},
		// Lock wait timeout.
		sqlstore.Locked: {"1205"},
		sqlstore.Full:   {"1040", "1203", "1226"},
		// The option --read-only, a read-only transaction, a read-only mode of the server.
		sqlstore.ReadOnly:   {"1290", "1792", "1836"},
		sqlstore.Unprepared: {"1461"},
		// Shutdown, KILL, interactive_timeout, and what proxies say of the server behind
		// them.
		sqlstore.Broken: {"1053", "1105", "1158", "1159", "1160", "1161", "1317", "1927", "2006", "2013", "4031"},
		// For MyISAM, or for an old row format of InnoDB.
		sqlstore.KeyTooLong: {"1071", "1709"},
	},
	Broken: []error{mysql.ErrInvalidConn},
}

// literal writes a value into a statement. The server takes a text in hexadecimal for one of
// the column's character set, as it does with a text in quotes, so it uses the index.
func literal(value interface{}) string {
	switch v := value.(type) {
	case nil:
		return "NULL"
	case int64:
		return strconv.FormatInt(v, 10)
	case []byte:
		return "x'" + hex.EncodeToString(v) + "'"
	default:
		return "_utf8mb4 x'" + hex.EncodeToString([]byte(v.(string))) + "'"
	}
}
