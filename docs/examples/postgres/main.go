// Command postgres keeps sessions in a table of a PostgreSQL database.
package main

import (
	"cmp"
	"fmt"
	"os"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/postgres"
)

func main() {
	dsn := cmp.Or(os.Getenv("POSTGRES_DSN"), "postgres://postgres:postgres@127.0.0.1:5432/postgres?sslmode=disable")

	f := flamego.Classic()
	f.Use(session.Sessioner(session.Options{
		Initer: postgres.Initer(),
		Config: postgres.Config{
			DSN:       dsn,
			Table:     "sessions",
			InitTable: true,
		},
	}))

	f.Get("/", func() string {
		return `<a href="/set">Set</a> <a href="/get">Get</a> <a href="/clear">Clear</a>`
	})
	f.Get("/set", func(s session.Session) string {
		s.Set("user_id", 123)
		return "Succeed"
	})
	f.Get("/get", func(s session.Session) string {
		userID, ok := session.Value[int](s, "user_id")
		if !ok {
			return "Not authenticated"
		}
		return fmt.Sprintf("Authenticated as %d", userID)
	})
	f.Get("/clear", func(s session.Session) string {
		s.Delete("user_id")
		return "Cleared"
	})
	f.Run()
}
