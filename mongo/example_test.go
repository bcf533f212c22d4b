package mongo_test

import (
	"log"

	"github.com/flamego/flamego"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/mongo"
)

func ExampleIniter() {
	sessions, err := session.New(session.Options{
		Initer: mongo.Initer(),
		Config: mongo.Config{
			Options:  options.Client().ApplyURI("mongodb://127.0.0.1:27017"),
			Database: "app",
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
