// Package apps has the apps that "compiles unchanged" is said of: each is written as
// users of the existing library write theirs, and visited over HTTP. It is a module of
// its own, so that the go.mod of the library chooses no version of other middleware or
// of newer drivers for anybody.
//
// The packages:
//
//	apps            what needs no server, with other middleware of Flamego; these tests
//	                also run with the newest Flamego
//	apps/servers    databases, and apps that use go-redis 9 or pgx 5
//	apps/template   flamego/template, which the newest Flamego does not compile
//
// The go.mod replaces every version of flamego/session by this checkout, since
// flamego/csrf requires v1.3.0 of the existing library.
package apps

import (
	"encoding/gob"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/webapp"
)

// Notice is a flash of a type of the app.
type Notice struct {
	Text string
	Code int
}

func init() { gob.Register(Notice{}) }

// New returns an app with sessions and all the routes that [Visit] goes to.
func New(opts ...session.Options) *flamego.Flame {
	f := flamego.NewWithLogger(io.Discard)
	f.Use(session.Sessioner(opts...))

	f.Get("/set", func(s session.Session) string {
		s.Set("user_id", 123)
		return "Succeed"
	})
	f.Get("/get", func(s session.Session) string {
		id, ok := s.Get("user_id").(int)
		if !ok {
			return "Not authenticated"
		}
		return fmt.Sprintf("Authenticated as %d", id)
	})
	f.Get("/clear", func(s session.Session) string {
		s.Delete("user_id")
		return "Cleared"
	})

	f.Get("/flash", func(s session.Session) string {
		s.SetFlash("a message")
		return "Succeed"
	})
	f.Get("/notice", func(c flamego.Context, s session.Session) {
		s.SetFlash(Notice{"a notice", 7})
		c.Redirect("/message")
	})
	f.Get("/message", func(flash session.Flash) string {
		switch flash := flash.(type) {
		case string:
			return flash
		case Notice:
			return fmt.Sprint(flash.Text, flash.Code)
		case nil:
			return "No message"
		default:
			return fmt.Sprintf("a flash of type %T", flash)
		}
	})

	f.Get("/login", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
		return s.RegenerateID(w, r)
	})
	f.Get("/flush", func(s session.Session) string {
		s.Flush()
		return fmt.Sprint(s.HasChanged())
	})
	f.Get("/logout", func(c flamego.Context, s session.Session, store session.Store) error {
		return store.Destroy(c.Request().Context(), s.ID())
	})
	f.Get("/exists", func(c flamego.Context, s session.Session, store session.Store) string {
		return fmt.Sprint(store.Exist(c.Request().Context(), s.ID()))
	})
	return f
}

// Serve runs an app on a real server until the end of the test, and returns its address.
func Serve(t testing.TB, app http.Handler) string {
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	return server.URL
}

// Visit goes through an app of [New] over HTTP, with two browsers.
func Visit(t testing.TB, app http.Handler) {
	t.Helper()
	address := Serve(t, app)
	alice, bob := webapp.Connect(t, address), webapp.Connect(t, address)

	Get(t, alice, "/get", "Not authenticated")
	Get(t, alice, "/set", "Succeed")
	Get(t, alice, "/get", "Authenticated as 123")
	Get(t, alice, "/exists", "true")
	Get(t, bob, "/get", "Not authenticated")

	Get(t, alice, "/flash", "Succeed")
	Get(t, bob, "/message", "No message")
	Get(t, alice, "/message", "a message")
	Get(t, alice, "/message", "No message")
	if w := alice.Get("/notice"); w.Header().Get("Location") != "/message" {
		t.Fatalf("/notice: %d %v", w.Code, w.Header())
	}
	Get(t, alice, "/message", "a notice7")

	before := alice.Cookie
	Get(t, alice, "/login", "")
	if alice.Cookie == before {
		t.Fatal("RegenerateID has sent no new cookie")
	}
	Get(t, alice, "/get", "Authenticated as 123")
	thief := webapp.Connect(t, address)
	thief.Cookie = before
	Get(t, thief, "/get", "Not authenticated")

	Get(t, alice, "/clear", "Cleared")
	Get(t, alice, "/get", "Not authenticated")
	Get(t, alice, "/set", "Succeed")
	Get(t, alice, "/flush", "true")
	Get(t, alice, "/get", "Not authenticated")

	Get(t, alice, "/set", "Succeed")
	after := alice.Cookie
	Get(t, alice, "/logout", "")
	alice.Cookie = after
	Get(t, alice, "/exists", "false")
	Get(t, alice, "/get", "Not authenticated")
}

// Get requests a page and compares its body.
func Get(t testing.TB, b *webapp.Browser, path, want string) {
	t.Helper()
	if w := b.Get(path); w.Code != http.StatusOK || w.Body.String() != want {
		t.Fatalf("%s: %d %q, want %q", path, w.Code, w.Body, want)
	}
}

// Panic returns what f panics with, "" if it does not.
func Panic(f func()) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = fmt.Sprint(r)
		}
	}()
	f()
	return ""
}
