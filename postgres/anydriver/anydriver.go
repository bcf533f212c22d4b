// Package anydriver keeps sessions in a table of PostgreSQL, by a pool of any driver. It
// links no driver: the app opens the pool with the one that it has.
//
//	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL")) // github.com/jackc/pgx/v5/stdlib
//	if err != nil {
//		log.Fatal(err)
//	}
//	f.Use(session.Sessioner(session.Options{
//		Initer: anydriver.Initer(),
//		Config: anydriver.Config{DB: db, InitTable: true},
//	}))
//
// # Model
//
// The table, and all else, is that of package [github.com/flamego/session/postgres]: the
// two packages can share a table.
//
// A driver must return errors with a method SQLState() string, as those of jackc/pgx
// (v4 and v5) and lib/pq do. With drivers that have other errors, the store would not
// know a missing table or a lost connection.
//
// # Errors
//
// The Initer returns an error if there is no DB, for a name that cannot be that of a
// table, and if the server does not answer within 5 seconds. All others are those of
// package postgres.
//
// # Limits
//
// The store waits for a connection of the pool until its context is done. So the pool
// needs connections for the sessions beside those that handlers hold: a handler that
// holds the last one, by an open transaction for example, makes the store wait for the
// handler. The pool should have a SetConnMaxIdleTime of 2 minutes, as what is between the app
// and the server may drop connections that are idle.
//
// Behind a PgBouncer in transaction mode, pgx 5 needs
// "default_query_exec_mode=simple_protocol" in its DSN.
package anydriver

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/sqlstore/pgdialect"
)

// Config says where the sessions are. DB must be given.
type Config struct {
	// Lifetime is the duration without access after which a session ends.
	// Default is 3600 seconds, also for values below one second.
	Lifetime time.Duration
	// DB is the pool, which the store never closes. Default is none, which is an error.
	DB *sql.DB
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
}

// Initer returns the session.Initer of PostgreSQL for a pool of any driver, which wants a
// Config.
func Initer() session.Initer {
	return session.NewIniter(open)
}

var dialect = pgdialect.Dialect()

func open(ctx context.Context, config Config) (session.Backend, session.StoreConfig, error) {
	if config.DB == nil {
		return nil, session.StoreConfig{}, errors.New("postgres/anydriver: empty DB")
	}
	return dialect.Open(ctx, sqlstore.Config{
		Lifetime: config.Lifetime, DB: config.DB, Table: config.Table, Encoder: config.Encoder,
		Decoder: config.Decoder, InitTable: config.InitTable, MaxDataSize: config.MaxDataSize,
	})
}
