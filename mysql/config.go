package mysql

import (
	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
)

// Config says where the sessions are; its fields are those of sqlstore.Config:
//
//   - DSN is the address of the server in the form of go-sql-driver/mysql,
//     "user:password@tcp(host:3306)/database". No parameter is needed, and none
//     does harm. There is no default. Instead of it,
//   - DB is a pool to share, which the store never closes. Default is a pool of
//     up to 16 connections to DSN.
//   - Table is the table, "database.table" or just its name; a part in backquotes
//     may hold a dot. Default is "sessions".
//   - InitTable makes the table and its index where they are missing. Default is
//     false.
//   - Lifetime is the duration without access after which a session is recycled.
//     Default is 3600 seconds, also for values below one second.
//   - Encoder and Decoder default to session.GobEncoder and session.GobDecoder.
//   - MaxDataSize is the greatest number of bytes of encoded data of one session,
//     if the column can hold as much: a BLOB, which InitTable makes, holds 65,535
//     bytes. Default is 1 MiB.
type Config sqlstore.Config

// Initer returns an Initer that takes a Config of this package.
func Initer() session.Initer {
	return sqlstore.Initer[Config](&dialect)
}
