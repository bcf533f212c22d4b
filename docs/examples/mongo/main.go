// Command mongo keeps sessions in a collection of a MongoDB database.
package main

import (
	"cmp"
	"fmt"
	"os"

	"github.com/flamego/flamego"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/mongo"
)

func main() {
	uri := cmp.Or(os.Getenv("MONGODB_URI"), "mongodb://127.0.0.1:27017")

	f := flamego.Classic()
	f.Use(session.Sessioner(session.Options{
		Initer: mongo.Initer(),
		Config: mongo.Config{
			Options:    options.Client().ApplyURI(uri),
			Database:   "app",
			Collection: "sessions",
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
