package postgres_test

import (
	"log"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/postgres"
)

func ExampleIniter() {
	sessions, err := session.New(session.Options{
		Initer: postgres.Initer(),
		Config: postgres.Config{
			DSN:       "postgres://user:password@localhost/app?sslmode=disable",
			InitTable: true,
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()

	f := flamego.Classic()
	f.Use(sessions.Handler())
	f.Run()
}
