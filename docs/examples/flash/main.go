// Command flash leaves a message for the next page, which shows it once.
package main

import (
	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

func main() {
	f := flamego.Classic()
	f.Use(session.Sessioner())

	f.Get("/", func() string {
		return `<a href="/save">Save</a> <a href="/message">Message</a>`
	})
	f.Get("/save", func(c flamego.Context, s session.Session) {
		s.SetFlash("Your changes are saved")
		c.Redirect("/message")
	})
	f.Get("/message", func(flash session.Flash) string {
		message, ok := flash.(string)
		if !ok {
			return "No message"
		}
		return message
	})
	f.Run()
}
