// Command postgres keeps sessions in the table "sessions" of a PostgreSQL
// database, by default of the server that "make servers" starts.
package main

import (
	"net"
	"net/url"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/app"
	"github.com/flamego/session/postgres"
)

func main() {
	dsn := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(app.Env("PGUSER", "postgres"), app.Env("PGPASSWORD", "postgres")),
		Host:     net.JoinHostPort(app.Env("PGHOST", "127.0.0.1"), app.Env("PGPORT", "54321")),
		Path:     app.Env("PGDATABASE", "postgres"),
		RawQuery: "sslmode=" + app.Env("PGSSLMODE", "disable"),
	}
	app.Run(session.New(session.Options{
		Initer: postgres.Initer(),
		Config: postgres.Config{
			DSN:       dsn.String(),
			Table:     "sessions",
			InitTable: true,
		},
	}))
}
