package mysql_test

import (
	"database/sql"
	"log"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/mysql"
)

// An app that uses the database itself can share its pool.
func ExampleIniter() {
	db, err := sql.Open("mysql", "user:password@tcp(localhost:3306)/app")
	if err != nil {
		log.Fatal(err)
	}

	f := flamego.Classic()
	f.Use(session.Sessioner(session.Options{
		Initer: mysql.Initer(),
		Config: mysql.Config{DB: db, InitTable: true},
	}))
	f.Run()
}
