// Command sqlite keeps sessions in the table "sessions" of the SQLite database
// in the file "app.db".
package main

import (
	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/app"
	"github.com/flamego/session/sqlite"
)

func main() {
	app.Run(session.New(session.Options{
		Initer: sqlite.Initer(),
		Config: sqlite.Config{
			DSN:       "app.db",
			Table:     "sessions",
			InitTable: true,
		},
	}))
}
