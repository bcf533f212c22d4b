// Command token is for clients without cookies, such as a mobile app: the session ID is a
// token that the client keeps, and sends in each request as "Authorization: Bearer TOKEN".
//
//	curl -d "name=alice&password=correct horse" localhost:2830/login
//	curl -H "Authorization: Bearer TOKEN" localhost:2830/me
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/app"
	"github.com/flamego/session/docs/examples/internal/users"
)

func options() session.Options {
	return session.Options{
		Config:      session.MemoryConfig{Lifetime: 30 * 24 * time.Hour},
		MaxLifetime: 180 * 24 * time.Hour,
		IDLength:    25, // 129 bits
		ReadIDFunc: func(r *http.Request) string {
			scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			if !strings.EqualFold(scheme, "Bearer") {
				return ""
			}
			return token
		},
		WriteIDFunc: func(http.ResponseWriter, *http.Request, string, bool) {
			// Only the login tells an ID, in its answer.
		},
	}
}

// answer sends a value as JSON.
func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(value); err != nil {
		log.Print(err)
	}
}

// newApp returns the app. It is apart from main for its test.
func newApp(sessions *session.Manager, people *users.Table) *flamego.Flame {
	f := flamego.Classic()
	f.Use(sessions.Handler())

	f.Post("/login", func(w http.ResponseWriter, r *http.Request, s session.Session) {
		user, ok := people.Check(r.PostFormValue("name"), r.PostFormValue("password"))
		if !ok {
			answer(w, http.StatusUnauthorized, map[string]string{"error": "wrong name or password"})
			return
		}
		if err := s.RegenerateID(w, r); err != nil {
			app.Fail(w, err)
			return
		}
		s.Flush() // nothing stays of another user
		s.Set("user_id", user.ID)
		answer(w, http.StatusOK, map[string]string{"token": s.ID()})
	})
	f.Get("/me", func(w http.ResponseWriter, s session.Session) {
		id, _ := session.Value[int](s, "user_id")
		user, ok := people.Load(id)
		if !ok {
			answer(w, http.StatusUnauthorized, map[string]string{"error": "not logged in"})
			return
		}
		answer(w, http.StatusOK, map[string]string{"name": user.Name})
	})
	f.Post("/logout", func(w http.ResponseWriter, r *http.Request, s session.Session) {
		if err := session.Destroy(w, r, s); err != nil {
			app.Fail(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return f
}

func main() {
	sessions, err := session.New(options())
	if err != nil {
		log.Fatal(err)
	}
	app.Serve(newApp(sessions, users.New()), sessions)
}
