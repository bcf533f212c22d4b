package sqlite

import (
	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
)

// Config says where the sessions are; its fields are those of sqlstore.Config:
//
//   - DSN is the database: the path of a file ("app.db", made if it is missing),
//     a URI ("file:/var/lib/app.db?mode=rw"), or ":memory:"; parameters of
//     modernc.org/sqlite may follow after a "?". What is not among them defaults to
//     _pragma=busy_timeout(100), to a WAL if the file can have one, and with a WAL
//     to _pragma=synchronous(NORMAL). There is no default for the rest. Instead of
//     it,
//   - DB is a pool to share, which the store never closes and tells none of this;
//     give it a busy_timeout. Default is one connection to DSN, and 8 more that
//     read if it has a WAL.
//   - Table is the table, "schema.table" or just its name; a part in backquotes
//     may hold a dot. Default is "sessions".
//   - InitTable makes the table and its index where they are missing. Default is
//     false.
//   - Lifetime is the duration without access after which a session is recycled.
//     Default is 3600 seconds, also for values below one second.
//   - Encoder and Decoder default to session.GobEncoder and session.GobDecoder.
//   - MaxDataSize is the greatest number of bytes of encoded data of one session.
//     Default is 1 MiB.
type Config sqlstore.Config

// Initer returns an Initer that takes a Config of this package.
func Initer() session.Initer {
	return sqlstore.Initer[Config](&dialect)
}
