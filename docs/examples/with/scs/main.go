// Command scs is an app that has moved from alexedwards/scs to Flamego, and takes its visitors
// along: who was logged in still is. It reads the sessions that scs has left in the table
// "sessions" of app.db. Every other store of scs works as well.
package main

import (
	"context"
	"database/sql"
	"encoding/gob"
	"html/template"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/sqlite3store"
	"github.com/alexedwards/scs/v2"
	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/sqlite"
)

var homePage = template.Must(template.New("home").Parse(`<!DOCTYPE html><html lang="en"><title>Home</title>
{{if .}}<p>Logged in as {{.}}
<form method="post" action="/logout"><button>Log out</button></form>
{{else}}<p>Not logged in
<form method="post" action="/login"><label>Name <input name="name"></label> <button>Log in</button></form>
{{end}}
`))

// The types of values that the app before had registered.
func init() { gob.Register(time.Time{}) }

// formerSessions returns the session manager of the app before, with the options that it had.
func formerSessions(store scs.Store) *scs.SessionManager {
	old := scs.New()
	old.Store = store
	old.Codec = skipBroken{old.Codec}
	return old
}

// skipBroken makes of data that cannot be decoded a session that is over. The error of scs is
// the same as that of a database that is down, which must not cost a visitor the login.
type skipBroken struct{ scs.Codec }

func (c skipBroken) Decode(b []byte) (time.Time, map[string]interface{}, error) {
	deadline, values, err := c.Codec.Decode(b)
	if err != nil {
		log.Print(err)
	}
	return deadline, values, nil
}

// keyFormer is the key under which a session has the token of the one that it was moved from.
const keyFormer = "scs_token"

// takeAlong is middleware that copies the session of a visitor from scs, key by key, when the visitor
// opens a page. Then it sends the browser to the page once more, with the new cookie. The old session
// stays until the visitor logs out: the first response may be lost, and a browser that opens several
// pages at once needs the old one for each of them.
func takeAlong(old *scs.SessionManager) flamego.Handler {
	return func(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session) {
		cookie, err := r.Cookie(old.Cookie.Name)
		if err != nil {
			return
		}
		if s.Get("user_id") != nil { // the browser has the new cookie, and needs the old one no more
			old.WriteSessionCookie(r.Context(), w, "", time.Time{}) // with no time: an expired one
			return
		}
		if !opensPage(r) {
			return
		}
		was, err := old.Load(r.Context(), cookie.Value)
		if err != nil {
			fail(w, err)
			return
		}
		if !old.Exists(was, "user_id") || time.Now().After(old.Deadline(was)) {
			return // over, or never logged in
		}
		if err := s.RegenerateID(w, r); err != nil {
			fail(w, err)
			return
		}
		for _, key := range old.Keys(was) {
			s.Set(key, old.Get(was, key))
		}
		s.Set(keyFormer, cookie.Value)
		c.Redirect("/"+strings.TrimLeft(r.URL.RequestURI(), "/"), http.StatusSeeOther) // "//page" would be a host
	}
}

// opensPage reports whether a request is for a page that the visitor opens. Forms that were open during
// the switch, and what scripts fetch, find nobody logged in until then.
func opensPage(r *http.Request) bool {
	dest := r.Header.Get("Sec-Fetch-Dest")
	return r.Method == http.MethodGet && (dest == "" || dest == "document") && r.Header.Get("Upgrade") == ""
}

// endFormer deletes the session that scs has of the visitor, and its cookie. A logout calls it, and so
// does a login, as the visitor may have been somebody else.
func endFormer(old *scs.SessionManager, w http.ResponseWriter, r *http.Request, s session.Session) error {
	moved, _ := session.Value[string](s, keyFormer)
	tokens := []string{moved}
	if cookie, err := r.Cookie(old.Cookie.Name); err == nil {
		tokens = append(tokens, cookie.Value)
		old.WriteSessionCookie(r.Context(), w, "", time.Time{})
	}
	for _, token := range tokens {
		was, err := old.Load(context.WithoutCancel(r.Context()), token)
		if err != nil {
			return err
		}
		if err := old.Destroy(was); err != nil {
			return err
		}
	}
	return nil
}

func fail(w http.ResponseWriter, err error) {
	log.Print(err)
	http.Error(w, "Internal Server Error", http.StatusInternalServerError)
}

func options(db *sql.DB) session.Options {
	const day = 24 * time.Hour // the Lifetime of scs
	return session.Options{
		Initer:      sqlite.Initer(),
		Config:      sqlite.Config{DB: db, Table: "flamego_sessions", InitTable: true, Lifetime: day},
		MaxLifetime: day,
		// The sessions that a browser got for pages that it opened at once, but for the one that
		// it keeps, end after this time.
		FirstLifetime: 10 * time.Minute,
		// A late request that has the old cookie only, and finds nothing, must not replace the
		// new cookie.
		Cookie:    session.CookieOptions{WhenStored: true, MaxAge: int(day.Seconds())},
		ErrorFunc: func(err error) { log.Print(err) },
	}
}

func newApp(sessions *session.Manager, old *scs.SessionManager) *flamego.Flame {
	f := flamego.Classic()
	f.Use(sessions.Handler())

	f.Group("", func() {
		f.Get("/", func(w http.ResponseWriter, s session.Session) {
			name, _ := session.Value[string](s, "name")
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Cache-Control", "no-store")
			if err := homePage.Execute(w, name); err != nil {
				log.Print(err)
			}
		})
	}, takeAlong(old))
	f.Post("/login", func(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session) {
		if err := endFormer(old, w, r, s); err != nil {
			fail(w, err)
			return
		}
		if err := s.RegenerateID(w, r); err != nil {
			fail(w, err)
			return
		}
		s.Flush()
		s.Set("user_id", 8) // an app with users checks a password first
		s.Set("name", r.PostFormValue("name"))
		c.Redirect("/", http.StatusSeeOther)
	})
	f.Post("/logout", func(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session) {
		if err := endFormer(old, w, r, s); err != nil {
			fail(w, err)
			return
		}
		if err := session.Destroy(w, r, s); err != nil {
			fail(w, err)
			return
		}
		c.Redirect("/", http.StatusSeeOther)
	})
	return f
}

func main() {
	db, err := sql.Open("sqlite", "app.db?_pragma=busy_timeout(5000)")
	if err != nil {
		log.Fatal(err)
	}
	sessions, err := session.New(options(db))
	if err != nil {
		log.Fatal(err)
	}
	newApp(sessions, formerSessions(sqlite3store.New(db))).Run()
}
