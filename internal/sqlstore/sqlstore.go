// Package sqlstore keeps sessions in an SQL database: one backend for all
// dialects.
//
// # Model
//
// A session is one row: key, data, expired_at, and after InitOwners an owner. Every operation is
// one statement, which names the state that it expects: the key, the bytes that were read, an
// expiry that has not passed. (On MySQL an Insert that meets a row, and a Sweep, are two.) So
// there is no transaction, no lock that outlives a statement, and but for the owner no column that
// the tables of the older library do not have.
//
// Only the clock of the database counts: a statement compares expired_at with the time
// of the server. No time passes through the driver, so the ways in which drivers parse
// times do not matter. Where expired_at is wall time, the statements know the zone.
//
// The differences between databases are data: a [Dialect] holds expressions, templates
// and error codes. Templates are made into SQL once, at start.
//
// # Errors
//
// The text of an error says what kind of thing is wrong, by the code of the server or the
// type of the error: see text.go. Of the messages of servers and drivers it repeats only
// phrases that are known to hold nothing of a DSN, of SQL or of a session. errors.As finds
// the original error. An error at start names the parameter that is wrong.
//
// An operation is tried again after an error that says that nothing was done: a lock that
// somebody else holds, a deadlock, a server that is full or takes no writes, a connection
// that was lost before anything was sent. Loads, extensions and deletions are tried again
// after any loss of a connection. A write whose outcome is not known is not: see the
// contract of session.Backend, whose session.ErrNotApplied all errors of the first kind
// wrap.
//
// # Limits
//
// In a pool that the store has opened, an operation waits until there is a connection for
// it, or until its context is done. The operation gives its connection the deadline of the
// context, so that the driver need not watch the context (see Dialect.Timed). If the
// context has no deadline, or the pool is shared, the driver watches the context. A driver
// that heeds neither a deadline nor a context holds up the operation.
//
// A connection from the pool may be dead. So an operation has only a part of its time on
// it: see package liveness.
package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/flamego/session"
)

// Config has the fields of the Config of each dialect. The packages of the dialects
// document them: a Config there is a struct of its own, so that its fields are in
// its documentation. Initer takes any of these structs, as all have the same fields
// in the same order.
type Config = struct {
	Lifetime    time.Duration
	DSN         string // DSN or DB must be given
	Table       string // default is "sessions"
	Encoder     session.Encoder
	Decoder     session.Decoder
	InitTable   bool
	MaxDataSize int // a column that holds less lowers it
	DB          *sql.DB
	MaxConns    int // default is that of the dialect
}

// Initer returns the Initer of a dialect whose Config is of type C.
func Initer[C interface{ ~Config }](d *Dialect) session.Initer {
	return session.NewIniter(func(ctx context.Context, config C) (session.Backend, session.StoreConfig, error) {
		return d.Open(ctx, Config(config))
	})
}

// Dialect is what the backend has to know about a database.
//
// A template is SQL in which
//   - {table}, {key}, {data}, {expired_at}, {owner}, {index} and {owner index} are names,
//   - {schema.} and {bare} are the two parts of {table},
//   - {now}, {expires}, {live}, {dead}, {until}, {expiry}, {left} and {owner value} are
//     expressions,
//   - {, owner} and the like are parts of a write, left out if it sets no owner: see
//     withOwner,
//   - ? is a parameter,
//   - {load keys} and {sweep keys} are as many parameters as keys go in one statement
//     that loads or deletes,
//   - {sweep limit} is how many rows one Sweep deletes at most.
//
// A new dialect has to be a package of this module, as package sqlstore is internal. The
// package needs
//   - a Config with the fields of [Config],
//   - an Initer, which returns that of [Initer],
//   - a Dialect, above all its Connector, ServerError and Codes. What knows no driver is a
//     package below this one if pools of several drivers are to be tested,
//   - for the tests a sqltest.Env and an export_test.go with the Dialect,
//   - for the tests a kind of server in internal/testing/testserver, if it has one, whose
//     pkg is what "make deps" installs,
//   - a place in "make test-full", imports_test.go, api_test.go, docs/examples and the
//     table of the README.
type Dialect struct {
	// The fields of this group are required.

	Name  string // starts the errors
	Quote byte   // around identifiers, doubled inside

	Now    string // the time of the server
	Expiry string // the time ? milliseconds from now, rounded up to what the column holds
	Left   string // the milliseconds until a row expires

	// CreateTable and CreateIndex are the statements of InitTable. Without HasIndex,
	// CreateIndex must leave an index alone that is there.
	CreateTable, CreateIndex string
	// OwnerType is the type of the column owner. Its comparison must tell all texts apart, but for
	// spaces at the end. CreateOwnerIndex is like CreateIndex.
	OwnerType, CreateOwnerIndex string
	// Sweep deletes up to {sweep limit} dead rows. A dialect without Sweep needs both
	// SweepKeys and SweepDelete: SweepKeys reads the keys of up to {sweep limit} dead
	// rows, and SweepDelete deletes the rows with these {sweep keys} that are still dead.
	Sweep, SweepKeys, SweepDelete string

	// Connector parses a DSN. A panic in it is an error.
	Connector func(dsn string) (driver.Connector, error)
	// ServerError finds the answer of the server in an error. The text says what the code
	// means: the message of the server may repeat anything.
	ServerError func(error) (code, text string, ok bool)
	// Codes are the codes of ServerError that have a meaning for the backend. NoTable
	// must have a code, or InitTable makes no table, and NoColumn for the same reason.
	// Duplicate must have a code too.
	Codes map[Class][]string

	// The fields of this group are optional.

	MaxName    int              // greatest length of an identifier, 0 for any
	NameLength func(string) int // measures an identifier; required with MaxName
	Numbered   bool             // parameters are $1, $2 instead of ?
	Prepare    bool             // the driver wants statements to be prepared
	Remote     bool             // an operation is a round trip, which loads may share

	// Clock is Now in milliseconds since 1970 in UTC. A database on the same machine has none.
	Clock string
	// Literal writes a string, bytes or an int64 into a statement. It is for a server that
	// prepares no more statements: see Unprepared. Without it there is no such server.
	Literal func(interface{}) string
	// Timed says that an operation ends in time even if its context is never done:
	// because its connection has the deadline, or because no statement takes long. So the
	// driver gets a context of deadline.WithoutDone, which it need not watch. Before an
	// operation, the ResetSession of its connection gets that context, and may give the
	// connection the deadline: see SetAttempt. A connector with a method Timed decides
	// for itself.
	Timed bool
	// Single says that the pool of a store has only one connection, which is never
	// renewed: a database in memory would end with its connection, or more connections
	// that write would only get in each other's way.
	Single bool
	// Readers is a query for a dialect with Single. If the query answers 1, the store
	// opens a second pool, whose connections load while the one connection writes.
	// Without Readers, or with another answer, the one connection also loads.
	Readers string

	// Insert writes the parameters key, data, TTL and owner unless there is a live row with
	// the key. It may be a plain INSERT: if that finds a duplicate, the backend tries to
	// replace a dead row by an UPDATE. Default is an INSERT .. ON CONFLICT.
	Insert string
	// Expires is when a row expires, by the clock of Now, and Until is the time ?
	// milliseconds from now by that clock. They are for a dialect whose column, and so
	// Expiry, has another clock than Now. Default is the column and Expiry.
	Expires, Until string
	// CreateShort is CreateTable with a shorter key, for a server that answers with a code
	// of KeyTooLong.
	CreateShort string
	// HasIndex counts the indexes on the column whose name stands for {column} in it. Its
	// parameters are the schema, empty for the current schema, and the table.
	HasIndex string
	// OwnerFits answers 1 if the column owner can be used, 0 if it cannot, and NULL if nobody
	// knows. Its parameters are those of HasIndex.
	OwnerFits string
	// OwnerValue is the owner as an expression of the parameter ?, which is hexadecimal if
	// HexOwner says so. Default is the parameter.
	OwnerValue string
	HexOwner   bool
	// LockLimit stands before the statements that change a table of which others hold locks,
	// and says how long they wait. A statement that waits also holds up all later ones, so the wait
	// must be short. It is sent with the statement, as one text, in one query without parameters.
	LockLimit string
	// Capacity answers how many bytes the column data can hold. Its parameters are those
	// of HasIndex. A dialect without Capacity has no limit worth knowing.
	Capacity string

	// Phrases are phrases in errors of the driver that repeat nothing of a DSN, a statement
	// or a value. Of other errors of the driver, only the type is shown.
	Phrases []string
	// Parameters are the parameters of a DSN that are wrong if a server answers with a
	// code when a connection begins, or if the driver says a phrase.
	Parameters map[string]string
	// BadParameter finds the parameter for which the driver does not take a DSN, where no
	// phrase tells.
	BadParameter func(dsn string) string
	// TLS is the parameter that is wrong if a connection cannot be encrypted.
	TLS string
	// Broken are the errors by which the driver itself says that a connection is lost.
	Broken []error
}

// Open opens the database that config names. It returns the backend, and the settings
// for a store on top of it. Its errors start with the name of the dialect, except for
// "empty DSN".
func (d *Dialect) Open(ctx context.Context, config Config) (session.Backend, session.StoreConfig, error) {
	sc := session.StoreConfig{
		Name: d.Name, Lifetime: config.Lifetime, MaxDataSize: config.MaxDataSize,
		Encoder: config.Encoder, Decoder: config.Decoder,
	}
	b, err := d.open(config)
	if err != nil {
		return nil, sc, err
	}

	b.mayInit = config.InitTable
	if err := b.start(ctx, &sc); err != nil {
		_ = b.Close()
		return nil, sc, fmt.Errorf("%s: %w", d.Name, err)
	}
	return b, sc, nil
}

func (d *Dialect) open(config Config) (*backend, error) {
	if config.Table == "" {
		config.Table = "sessions"
	}
	n, err := d.parseName(config.Table)
	if err != nil {
		return nil, fmt.Errorf("%s: Table is not the name of a table: %w", d.Name, err)
	}
	if config.MaxConns < 0 {
		return nil, fmt.Errorf("%s: MaxConns is negative", d.Name)
	}
	if config.DB != nil {
		return newBackend(d, sharedPool(d, config.DB), n), nil
	}
	if config.DSN == "" {
		return nil, errors.New("empty DSN")
	}
	c, err := d.connector(config.DSN)
	if err != nil {
		return nil, d.badDSN(config.DSN, err)
	}
	if !d.Single {
		return newBackend(d, openPool(d, c, cmp.Or(config.MaxConns, poolSize), false), n), nil
	}
	b := newBackend(d, openPool(d, c, 1, true), n)
	b.connector, b.maxReaders = c, cmp.Or(config.MaxConns, 1+readers)-1
	return b, nil
}

// connector parses a DSN. Drivers look at each byte of it by hand, and may panic.
func (d *Dialect) connector(dsn string) (c driver.Connector, err error) {
	defer Guard(&err)
	return d.Connector(dsn)
}
