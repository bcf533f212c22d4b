// Command flash hands a message from one request to the next: /save leaves it,
// and /message shows it once.
package main

import (
	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/app"
)

func save(c flamego.Context, s session.Session) {
	s.SetFlash("Your changes are saved")
	c.Redirect("/message")
}

func showMessage(flash session.Flash) string {
	message, ok := flash.(string)
	if !ok {
		return "No message"
	}
	return message
}

func main() {
	f := flamego.Classic()
	f.Use(session.Sessioner())
	app.Routes(f, "/save", "/message")
	f.Get("/save", save)
	f.Get("/message", showMessage)
	f.Run()
}
