// Command stream sends events to the pages of a visitor (server-sent events), for as long as
// the visitor is logged in.
//
//	curl -c jar -d "name=alice&password=correct horse" localhost:2830/login
//	curl -N -b jar localhost:2830/events
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/app"
	"github.com/flamego/session/docs/examples/internal/users"
)

// interval is the time between two events. Before each of them the session is looked at.
const interval = 5 * time.Second

// stopping ends when the app stops, and the streams with it: Stop of Flamego waits for them.
func newApp(stopping context.Context, sessions *session.Manager, people *users.Table) *flamego.Flame {
	f := flamego.Classic()
	f.Use(sessions.Handler())

	f.Post("/login", func(w http.ResponseWriter, r *http.Request, s session.Session) {
		user, ok := people.Check(r.PostFormValue("name"), r.PostFormValue("password"))
		if !ok {
			http.Error(w, "Wrong name or password", http.StatusUnauthorized)
			return
		}
		if err := s.RegenerateID(w, r); err != nil {
			app.Fail(w, err)
			return
		}
		s.Flush() // nothing stays of another user
		s.Set("user_id", user.ID)
	})
	f.Post("/logout", func(w http.ResponseWriter, r *http.Request, s session.Session) {
		if err := session.Destroy(w, r, s); err != nil {
			app.Fail(w, err)
		}
	})

	f.Get("/events", func(w http.ResponseWriter, r *http.Request, s session.Session, store session.Store) {
		user, ok := session.Value[int](s, "user_id")
		if !ok {
			http.Error(w, "Not logged in", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-store")
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			if _, err := fmt.Fprintf(w, "data: %s\n\n", time.Now().Format(time.RFC3339)); err != nil {
				return
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
			select {
			case <-r.Context().Done(): // the page is closed
				return
			case <-stopping.Done():
				return
			case <-tick.C:
			}
			// The session of the request is as it was at the beginning. What is stored now?
			now, err := store.Read(r.Context(), s.ID())
			if err != nil {
				log.Print(err) // the next look may succeed
				continue
			}
			if id, ok := session.Value[int](now, "user_id"); !ok || id != user {
				return // logged out, or renewed: the page connects again with its new cookie
			}
		}
	})
	return f
}

func main() {
	sessions, err := session.New()
	if err != nil {
		log.Fatal(err)
	}
	stopping, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(stopping, cancel)                          // a second Ctrl-C ends the process at once
	app.Serve(newApp(stopping, sessions, users.New()), sessions) // which ends by these signals, too
}
