package session_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// A visitor who asks for it stays logged in for 30 days, and any other one for the Lifetime of
// the Config, until the browser is closed.
func ExampleSetLifetime() {
	f := flamego.New()
	f.Use(session.Sessioner())
	f.Get("/login", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
		if err := s.RegenerateID(w, r); err != nil {
			return err
		}
		s.Set("user_id", 123)
		return session.SetLifetime(s, 0)
	})
	f.Get("/login-and-remember", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
		if err := s.RegenerateID(w, r); err != nil {
			return err
		}
		s.Set("user_id", 123)
		return session.SetLifetime(s, 30*24*time.Hour)
	})

	for _, path := range []string{"/login", "/login-and-remember"} {
		c := newBrowser(f).get(path).Result().Cookies()[0]
		c.Value = "ID"
		fmt.Println(c)
	}
	// Output:
	// flamego_session=ID; Path=/; HttpOnly; SameSite=Lax
	// flamego_session=ID; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax
}

// What matters is for those who have given their password lately.
func ExampleIssuedAt() {
	f := flamego.New()
	f.Use(session.Sessioner(session.Options{MaxLifetime: 24 * time.Hour}))
	f.Get("/delete", func(s session.Session) string {
		if time.Since(session.IssuedAt(s)) > 5*time.Minute {
			return "the password, please"
		}
		return "deleted"
	})
	f.Get("/password", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
		// Check the password here.
		s.Set("user_id", 123)
		return s.RegenerateID(w, r)
	})

	b := newBrowser(f)
	fmt.Println(b.get("/delete").Body)
	b.get("/password")
	fmt.Println(b.get("/delete").Body)
	// Output:
	// the password, please
	// deleted
}

// What is stored for a new visitor lives for ten minutes. When the visitor comes back it has
// the whole Lifetime, but no session ever lives for more than two hours.
func ExampleOptions_lifetimes() {
	sessions, err := session.New(session.Options{
		Config:        session.MemoryConfig{Lifetime: 24 * time.Hour},
		FirstLifetime: 10 * time.Minute,
		MaxLifetime:   2 * time.Hour,
		OwnerKey:      "visitor", // to look at the session from outside
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sessions.Close()
	f := flamego.New()
	f.Use(sessions.Handler())
	f.Get("/", func(s session.Session) { s.Set("visitor", "Alice") })

	b := newBrowser(f)
	for range 2 {
		b.get("/")
		infos, err := session.Owned(context.Background(), sessions.Store(), "Alice")
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(time.Until(infos[0].Expires).Round(time.Minute))
	}
	// Output:
	// 10m0s
	// 2h0m0s
}
