// Command literal sets the fields of a Config without their names.
package main

import (
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

func main() {
	f := flamego.Classic()
	f.Use(session.Sessioner(session.Options{
		Initer: session.FileIniter(),
		Config: session.FileConfig{time.Hour, "sessions", session.GobEncoder, session.GobDecoder},
	}))
	f.Run()
}
