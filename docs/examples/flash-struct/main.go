// Command flash-struct hands two types of messages from one request to the
// next: /save leaves one and /fail the other, and /message shows either once.
package main

import (
	"fmt"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/app"
)

// In memory any type will do. Everywhere else its fields must be exported, and
// the type made known to encoding/gob by gob.Register(flashInfo{}).
type flashInfo struct{ Text string }

type flashError struct {
	Text string
	Code int
}

func showFlash(flash session.Flash) string {
	switch flash := flash.(type) {
	case flashInfo:
		return "Info: " + flash.Text
	case flashError:
		return fmt.Sprintf("Error %d: %s", flash.Code, flash.Text)
	default:
		return "No message"
	}
}

func main() {
	f := flamego.Classic()
	f.Use(session.Sessioner())
	app.Routes(f, "/save", "/fail", "/message")

	f.Get("/save", func(c flamego.Context, s session.Session) {
		s.SetFlash(flashInfo{Text: "Your changes are saved"})
		c.Redirect("/message")
	})
	f.Get("/fail", func(c flamego.Context, s session.Session) {
		s.SetFlash(flashError{Text: "The disk is full", Code: 28})
		c.Redirect("/message")
	})
	f.Get("/message", showFlash)
	f.Run()
}
