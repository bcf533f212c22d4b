// Command apptest is a small app with a test of its sessions, in main_test.go.
//
//	go test ./docs/examples/apptest
package main

import (
	"log"
	"net/http"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/app"
)

func main() {
	f, sessions := newApp()
	app.Serve(f, sessions)
}

// newApp returns the app, and the Manager for its test.
func newApp() (*flamego.Flame, *session.Manager) {
	sessions, err := session.New()
	if err != nil {
		log.Fatal(err)
	}
	f := flamego.Classic()
	f.Use(sessions.Handler())

	f.Post("/login", func(w http.ResponseWriter, r *http.Request, s session.Session) {
		if r.PostFormValue("password") != "secret" {
			http.Error(w, "Wrong password", http.StatusUnauthorized)
			return
		}
		if err := s.RegenerateID(w, r); err != nil {
			app.Fail(w, err)
			return
		}
		s.Set("user_id", 456)
	})
	f.Get("/profile", func(s session.Session, flash session.Flash) (int, string) {
		if s.Get("user_id") == nil {
			return http.StatusUnauthorized, "Please log in"
		}
		message, _ := flash.(string)
		return http.StatusOK, "Your profile. " + message
	})
	f.Post("/profile", func(c flamego.Context, s session.Session) {
		s.SetFlash("Saved")
		c.Redirect("/profile", http.StatusSeeOther)
	})
	return f, sessions
}
