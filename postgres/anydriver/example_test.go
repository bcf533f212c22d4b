package anydriver_test

import (
	"database/sql"
	"log"
	"os"

	_ "github.com/jackc/pgx/v4/stdlib"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/postgres/anydriver"
)

// The sessions of an app are in its own pool. With pgx 5 only the import is another one,
// github.com/jackc/pgx/v5/stdlib.
func ExampleIniter() {
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	f := flamego.Classic()
	f.Use(session.Sessioner(session.Options{
		Initer: anydriver.Initer(),
		Config: anydriver.Config{DB: db, InitTable: true},
	}))
	f.Run()
}
