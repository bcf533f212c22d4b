// Command mysql keeps sessions in the table "cache" of a MySQL or MariaDB
// database, by default of the server that "make servers" starts.
package main

import (
	"fmt"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/app"
	"github.com/flamego/session/mysql"
)

func main() {
	dsn := fmt.Sprintf("%s:%s@tcp(%s:%s)/%s",
		app.Env("MYSQL_USER", "session"), app.Env("MYSQL_PASSWORD", "session"),
		app.Env("MYSQL_HOST", "127.0.0.1"), app.Env("MYSQL_PORT", "33061"),
		app.Env("MYSQL_DATABASE", "session"))
	app.Run(session.New(session.Options{
		Initer: mysql.Initer(),
		Config: mysql.Config{
			DSN:       dsn,
			Table:     "cache",
			InitTable: true,
		},
	}))
}
