// Package sqlstore keeps sessions in an SQL database: one backend for all
// dialects.
//
// # Model
//
// A session is one row: key, data, expired_at. Every operation is one statement
// that carries its own condition (the key, the bytes that were read, still
// live), so there is no transaction, no lock that outlives a statement, and no
// column that tables of old do not have. The clock is the database's: a
// statement compares expired_at with the time of the server, and no time ever
// passes through the driver, so neither a time zone nor how a driver parses
// times matters.
//
// What differs between databases is data: a [Dialect] holds expressions,
// templates and codes of errors. Templates are made into SQL once, at start.
//
// # Errors
//
// Their text holds nothing that a server or driver put in quotes (names from
// the DSN, session IDs) and no SQL, but says what kind of thing is wrong;
// errors.As finds the original. An operation that failed because its connection
// was lost, a deadlock or a lock is done again: each of them may be, since a
// condition that held fails the second time.
//
// # Limits
//
// In a pool of its own an operation waits for its turn as long as its context lets
// it, and then hands the connection a deadline instead of having the driver watch
// the context (see Dialect.Timed). An operation without a deadline, or on a pool
// that is shared, is watched. A driver whose call does not end with either holds up
// the operation.
package sqlstore

import (
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
}

// Initer returns the Initer of a dialect whose Config is of type C.
func Initer[C interface{ ~Config }](d *Dialect) session.Initer {
	return session.NewIniter(func(ctx context.Context, config C) (session.Backend, session.StoreConfig, error) {
		return d.Open(ctx, Config(config))
	})
}

// Dialect is what the backend has to know about a database.
//
// Templates hold {table}, {key}, {data}, {expired_at} and {index} for names,
// {schema.} and {bare} for the two parts of {table}, {now}, {live}, {dead},
// {expiry} and {left} for expressions, ? for a parameter, {few} and {keys} for as many
// of them as keys go in one statement that loads or deletes.
type Dialect struct {
	Name string

	Quote      byte             // around identifiers, doubled inside
	MaxName    int              // greatest length of an identifier, 0 for any
	NameLength func(string) int // how it is measured
	Numbered   bool             // parameters are $1, $2 instead of ?
	Prepare    bool             // the driver wants statements to be prepared
	Remote     bool             // an operation is a round trip, which loads may share
	Single     bool             // one connection writes, kept for good
	Readers    string           // with Single: counts 1 if others may read beside it

	Now    string // the time of the server
	Expiry string // the time ? milliseconds from now; whole seconds are rounded up
	Left   string // the milliseconds that a row has left

	// Insert writes the parameters key, data and TTL unless there is a live row.
	// It may be plain: if it finds a duplicate, an UPDATE replaces a dead one.
	// Default is an INSERT .. ON CONFLICT.
	Insert string
	// Sweep deletes 500 dead rows. Without it their keys are read by SweepKeys
	// and deleted by SweepDelete, in which {keys} is 500 parameters.
	Sweep, SweepKeys, SweepDelete string

	CreateTable, CreateIndex string
	// HasIndex counts the indexes on expired_at; its parameters are the schema
	// (empty for the current one) and the table. Without it CreateIndex is
	// harmless where there is one.
	HasIndex string
	// Capacity returns the number of bytes that data can hold; its parameters
	// are those of HasIndex. Without it there is no limit worth knowing.
	Capacity string

	// Connector parses a DSN.
	Connector func(dsn string) (driver.Connector, error)
	// Timed says that an operation ends at the deadline of its context even if that
	// is never done; ResetSession tells a connection.
	Timed bool
	// DSNFaults are what drivers say about a DSN without repeating any of it.
	DSNFaults []string
	// ServerError finds the answer of the server in an error.
	ServerError func(error) (code, text string, ok bool)
	// Codes are the codes of ServerError that mean something.
	Codes map[Class][]string
	// Broken are the driver's own errors for a lost connection.
	Broken []error
}

// Open opens the database that config names and returns the backend and how to
// make a store of it. Its errors start with the name of the dialect, but for
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

	if err := b.start(ctx, config.InitTable, &sc); err != nil {
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
	if config.DB != nil {
		return newBackend(d, &pool{DB: config.DB}, n), nil
	}
	if config.DSN == "" {
		return nil, errors.New("empty DSN")
	}
	c, err := d.Connector(config.DSN)
	if err != nil {
		return nil, d.badDSN(err)
	}
	if !d.Single {
		return newBackend(d, openPool(c, poolSize, false, d.Timed), n), nil
	}
	b := newBackend(d, openPool(c, 1, true, d.Timed), n)
	b.connector = c
	return b, nil
}
