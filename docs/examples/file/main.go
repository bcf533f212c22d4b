// Command file keeps each session in a file of the folder "sessions".
package main

import (
	"fmt"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

func main() {
	f := flamego.Classic()
	f.Use(session.Sessioner(session.Options{
		Initer: session.FileIniter(),
		Config: session.FileConfig{
			RootDir: "sessions",
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
