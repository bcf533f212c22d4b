package drivers

import (
	"database/sql"
	"log"
	"os"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/postgres/anydriver"
)

// An app with pgx 5: the sessions are in its own pool.
func Example() {
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
