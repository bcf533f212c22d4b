// Command memory keeps sessions in the memory of the process, the default: they
// are gone when it ends.
package main

import (
	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/app"
)

func main() {
	f := flamego.Classic()
	f.Use(session.Sessioner())
	app.Routes(f)
	f.Run()
}
