package postgres

import (
	"context"
	"database/sql"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
)

// Config says where the sessions are. DSN or DB must be given.
type Config struct {
	// Lifetime is the duration without access after which a session is
	// recycled. Default is 3600 seconds, also for values below one second.
	Lifetime time.Duration
	// DSN is the address of the server, as a URL
	// ("postgres://user:password@host:5432/database?sslmode=verify-full") or as
	// keywords ("host=... user=..."); the variables PGHOST, PGUSER and so on
	// give what it leaves out. Default is none, which is an error if there is no
	// DB either.
	DSN string
	// Table is the table, "schema.table" or just its name; a part in double
	// quotes may hold a dot. Case matters. Default is "sessions".
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
	// DB is a pool to share, which the store never closes; DSN is ignored then.
	// Default is a pool of up to 16 connections to DSN.
	DB *sql.DB
}

// Initer returns an Initer that takes a Config of this package.
func Initer() session.Initer {
	return session.NewIniter(func(ctx context.Context, config Config) (session.Backend, session.StoreConfig, error) {
		return dialect.Open(ctx, sqlstore.Config(config))
	})
}
