// Command bolt keeps sessions in a database of one file by a store of its own, which is in
// store.go: a session.Backend on go.etcd.io/bbolt.
package main

import (
	"fmt"
	"log"
	"time"

	"github.com/flamego/flamego"
	bolt "go.etcd.io/bbolt"

	"github.com/flamego/session"
)

func main() {
	db, err := bolt.Open("app.bolt", 0o600, &bolt.Options{Timeout: time.Second}) // if another process has it open
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()

	f := flamego.Classic()
	f.Use(session.Sessioner(session.Options{
		Initer: Initer(),
		Config: Config{DB: db},
	}))
	f.Get("/", func(s session.Session) string {
		n, _ := session.Value[int](s, "visits")
		s.Set("visits", n+1)
		return fmt.Sprintf("visit number %d", n+1)
	})
	f.Run()
}
