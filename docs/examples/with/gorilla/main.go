// Command gorilla is an app that has moved from gorilla/sessions to Flamego, and takes its
// visitors along: who was logged in still is, with a CookieStore and with a FilesystemStore.
package main

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"html/template"
	"io/fs"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/flamego/flamego"
	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"

	"github.com/flamego/session"
)

var homePage = template.Must(template.New("home").Parse(`<!DOCTYPE html><html lang="en"><title>Home</title>
{{range .Messages}}<p>{{.}}
{{end}}{{if .Name}}<p>Logged in as {{.Name}}
<form method="post" action="/logout"><button>Log out</button></form>
{{else}}<p>Not logged in
<form method="post" action="/login"><label>Name <input name="name"></label> <button>Log in</button></form>
{{end}}
`))

// users stands in for a column of the table of users: when each has last logged out.
type users struct {
	mu        sync.Mutex
	loggedOut map[int]time.Time
}

// LogOut is "UPDATE users SET logged_out = ? WHERE id = ?". A new password does the same.
func (u *users) LogOut(id int) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.loggedOut[id] = time.Now()
	return nil
}

// LoggedOut is "SELECT logged_out FROM users WHERE id = ?".
func (u *users) LoggedOut(id int) (time.Time, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.loggedOut[id], nil
}

// former is what the app before has left.
type former struct {
	store  sessions.Store // with the keys and Options that it had
	cookie string
	until  time.Time // when this ends
	people *users
}

// open returns the old session of a visitor, or nil if there is none that is good. The data of
// a CookieStore is in the cookie: whoever has a copy of one could use it after a logout. So a
// cookie from before the last logout of its user is refused.
func (old *former) open(r *http.Request) (*sessions.Session, error) {
	cookie, err := r.Cookie(old.cookie)
	if err != nil || time.Now().After(old.until) {
		return nil, nil
	}
	was, err := old.store.New(r, old.cookie)
	var broken securecookie.Error
	if errors.Is(err, fs.ErrNotExist) || errors.As(err, &broken) && broken.IsDecode() {
		log.Print(err) // logged out, too old, made up, or a type that is not registered with gob
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	id, ok := was.Values["user_id"].(int)
	if !ok {
		return nil, nil
	}
	loggedOut, err := old.people.LoggedOut(id)
	if err != nil || !writtenAt(cookie.Value).After(loggedOut) {
		return nil, err
	}
	return was, nil
}

// writtenAt returns the time of a cookie that was checked: it is "seconds|data|signature" in
// base64.
func writtenAt(cookie string) time.Time {
	text, _ := base64.URLEncoding.DecodeString(cookie)
	seconds, _, _ := strings.Cut(string(text), "|")
	unix, _ := strconv.ParseInt(seconds, 10, 64)
	return time.Unix(unix, 0)
}

// takeAlong is middleware that copies the old session of a visitor who opens a page, and sends the
// browser to the page once more, with the new cookie. The old session stays until the browser shows
// that: the first response may be lost, and a browser that opens several pages at once needs the
// old one for each of them.
func (old *former) takeAlong(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session) {
	if s.Get("user_id") != nil {
		if _, err := old.end(w, r); err != nil {
			log.Print(err) // the next request tries again
		}
		return
	}
	if !opensPage(r) {
		return
	}
	was, err := old.open(r)
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
	if messages := was.Flashes(); len(messages) > 0 {
		s.SetFlash(messages)
	}
	for key, value := range was.Values {
		s.Set(key, value)
	}
	c.Redirect("/"+strings.TrimLeft(r.URL.RequestURI(), "/"), http.StatusSeeOther) // "//page" would be a host
}

// opensPage reports whether a request is for a page that the visitor opens. Forms that were open during
// the switch, and what scripts fetch, find nobody logged in until then. (The old cookie may be
// SameSite=None: a form or a frame of another site sends it, too.)
func opensPage(r *http.Request) bool {
	dest := r.Header.Get("Sec-Fetch-Dest")
	return r.Method == http.MethodGet && (dest == "" || dest == "document") && r.Header.Get("Upgrade") == ""
}

// end deletes the old session of a visitor, which is a cookie, and a file of a FilesystemStore.
// It returns the user who was logged in, or 0.
func (old *former) end(w http.ResponseWriter, r *http.Request) (int, error) {
	was, err := old.open(r)
	if was == nil {
		return 0, err
	}
	id, _ := was.Values["user_id"].(int)
	was.Options.MaxAge = -1
	return id, was.Save(r, w)
}

func fail(w http.ResponseWriter, err error) {
	log.Print(err)
	http.Error(w, "Internal Server Error", http.StatusInternalServerError)
}

// refuseCrossOrigin keeps forms of other sites from logging a visitor out. They may bring the old
// cookie.
func refuseCrossOrigin(w http.ResponseWriter, r *http.Request) {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		http.Error(w, "Forbidden", http.StatusForbidden)
	}
}

func options(dir string) session.Options {
	const month = 30 * 24 * time.Hour // the MaxAge of gorilla/sessions
	return session.Options{
		Initer: session.FileIniter(),
		Config: session.FileConfig{RootDir: dir, Lifetime: month},
		// The sessions that a browser got for pages that it opened at once, but for the one that
		// it keeps, end after this time.
		FirstLifetime: 10 * time.Minute,
		// A late request that has the old cookie only, and finds nothing, must not replace the
		// new cookie.
		Cookie:    session.CookieOptions{WhenStored: true, MaxAge: int(month.Seconds()), Secure: true},
		ErrorFunc: func(err error) { log.Print(err) },
	}
}

func newApp(m *session.Manager, old *former) *flamego.Flame {
	f := flamego.Classic()
	f.Use(m.Handler())

	f.Group("", func() {
		f.Get("/", func(w http.ResponseWriter, s session.Session, flash session.Flash) {
			name, _ := session.Value[string](s, "name")
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Cache-Control", "no-store")
			if err := homePage.Execute(w, map[string]any{"Name": name, "Messages": flash}); err != nil {
				log.Print(err)
			}
		})
	}, old.takeAlong)
	f.Post("/login", refuseCrossOrigin, func(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session) {
		if err := s.RegenerateID(w, r); err != nil {
			fail(w, err)
			return
		}
		s.Flush()
		s.Set("user_id", 8) // an app with users checks a password first
		s.Set("name", r.PostFormValue("name"))
		c.Redirect("/", http.StatusSeeOther)
	})
	f.Post("/logout", refuseCrossOrigin, func(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session) {
		id, err := old.end(w, r)
		if err != nil {
			fail(w, err)
			return
		}
		if now, ok := session.Value[int](s, "user_id"); ok {
			id = now
		}
		if err := old.people.LogOut(id); err != nil {
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
	hashKey, err := hex.DecodeString(os.Getenv("SESSION_HASH_KEY"))
	if err != nil || len(hashKey) == 0 {
		log.Fatal("SESSION_HASH_KEY: the hash key of the app before, in hexadecimal digits, is needed")
	}
	m, err := session.New(options("flamego_sessions"))
	if err != nil {
		log.Fatal(err)
	}
	newApp(m, &former{
		store:  sessions.NewCookieStore(hashKey),
		cookie: "session",
		until:  time.Date(2027, time.January, 31, 0, 0, 0, 0, time.UTC), // some weeks after the switch
		people: &users{loggedOut: make(map[int]time.Time)},
	}).Run()
}
