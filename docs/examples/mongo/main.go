// Command mongo keeps sessions in the collection "cache" of a MongoDB database,
// by default of the server that "make servers" starts.
package main

import (
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/app"
	"github.com/flamego/session/mongo"
)

func main() {
	app.Run(session.New(session.Options{
		Initer: mongo.Initer(),
		Config: mongo.Config{
			Options:    options.Client().ApplyURI(app.Env("MONGODB_URI", "mongodb://127.0.0.1:27071")),
			Database:   app.Env("MONGODB_DATABASE", "session"),
			Collection: "cache",
		},
	}))
}
