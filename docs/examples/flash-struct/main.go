// Command flash-struct leaves messages of two types for the next page.
package main

import (
	"fmt"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// Sessions in memory take values of any type. Other stores take a type of the app
// after gob.Register(flashInfo{}), and then keep its exported fields.
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

	f.Get("/", func() string {
		return `<a href="/save">Save</a> <a href="/fail">Fail</a> <a href="/message">Message</a>`
	})
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
