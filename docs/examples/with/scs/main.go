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
{{else}}<p>Not logged in{{end}}
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

// takeAlong is middleware that copies the session of a visitor from scs, key by key. The old
// session stays until the visitor logs out: the first response may be lost, and a browser that sends
// several requests at once needs the old one for each of them.
func takeAlong(old *scs.SessionManager) flamego.Handler {
	return func(w http.ResponseWriter, r *http.Request, s session.Session) {
		cookie, err := r.Cookie(old.Cookie.Name)
		if err != nil {
			return
		}
		if s.Get("user_id") != nil { // the browser has the new cookie, and needs the old one no more
			old.WriteSessionCookie(r.Context(), w, "", time.Time{}) // with no time: an expired one
			return
		}
		was, err := loggedIn(old, r, cookie.Value)
		if err != nil {
			fail(w, err)
			return
		}
		if was == nil {
			return
		}
		if err := s.RegenerateID(w, r); err != nil {
			fail(w, err)
			return
		}
		for _, key := range old.Keys(was) {
			s.Set(key, old.Get(was, key))
		}
		s.Set(keyFormer, cookie.Value)

		// A slow page may come here before a logout in another tab, and answer after it. So look once
		// more when the response begins.
		w.(flamego.ResponseWriter).Before(func(w flamego.ResponseWriter) {
			if was, err := loggedIn(old, r, cookie.Value); err != nil || was == nil {
				if err := session.Destroy(w, r, s); err != nil {
					log.Print(err)
				}
			}
		})
	}
}

// loggedIn returns the context of an old session, or nil if that is over, or one of nobody.
func loggedIn(old *scs.SessionManager, r *http.Request, token string) (context.Context, error) {
	ctx, err := old.Load(context.WithoutCancel(r.Context()), token)
	if err != nil || !old.Exists(ctx, "user_id") || time.Now().After(old.Deadline(ctx)) {
		return nil, err
	}
	return ctx, nil
}

// endFormer deletes the session that scs has of the visitor, and its cookie.
func endFormer(old *scs.SessionManager, w http.ResponseWriter, r *http.Request, s session.Session) error {
	token, _ := session.Value[string](s, keyFormer)
	if cookie, err := r.Cookie(old.Cookie.Name); err == nil {
		token = cookie.Value
		old.WriteSessionCookie(r.Context(), w, "", time.Time{})
	}
	if token == "" {
		return nil
	}
	ctx, err := old.Load(context.WithoutCancel(r.Context()), token)
	if err != nil {
		return err
	}
	return old.Destroy(ctx)
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
		// The sessions that a browser got for requests at once, but for the one that it keeps,
		// end after this time.
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
	}, takeAlong(old)) // all routes but the logout
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
