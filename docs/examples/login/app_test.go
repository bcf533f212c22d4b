package main

import (
	"bytes"
	"database/sql"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/webapp"
)

const password = "correct horse"

// site is the app with databases of its own.
type site struct {
	t        *testing.T
	url      string // where there is a network
	https    bool
	handler  *flamego.Flame
	sessions *session.Manager
	users    *users
	// sessionsDB is apart from that of the users, so that a test can close it.
	sessionsDB *sql.DB
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, sessionsDB: newDB(t)}
	s.open("sqlite", "")
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// open makes the app.
func (s *site) open(store, dsn string) {
	var err error
	s.users, err = newUsers(newDB(s.t), bcrypt.MinCost)
	require.NoError(s.t, err)
	s.sessions, err = openSessions(sessionOptions(s.https), store, dsn, s.sessionsDB)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { assert.NoError(s.t, s.sessions.Close()) })
	s.handler = newApp(s.users, s.sessions, store)
}

func newDB(t *testing.T) *sql.DB {
	t.Helper()
	db, err := openDB(filepath.Join(t.TempDir(), "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

// browser is a visitor of the site.
type browser struct {
	*webapp.Browser
	t *testing.T
}

func (s *site) visitor() *browser {
	if s.url == "" {
		return &browser{webapp.NewBrowser(s.t, s.handler), s.t}
	}
	return &browser{webapp.Connect(s.t, s.url), s.t}
}

// signedUp returns a visitor with an account of that name.
func (s *site) signedUp(name string) *browser {
	s.t.Helper()
	b := s.visitor()
	require.Equal(s.t, "/", b.post("/signup", "name", name, "password", password).Header().Get("Location"))
	return b
}

// signedIn returns another device of that user.
func (s *site) signedIn(name string) *browser {
	s.t.Helper()
	b := s.visitor()
	require.Equal(s.t, "/", b.post("/signin", "name", name, "password", password).Header().Get("Location"))
	return b
}

// post sends a form of pairs of names and values.
func (b *browser) post(path string, pairs ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	form := make(url.Values)
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return b.Do(webapp.Form(path, form.Encode()))
}

// page returns the page at a path.
func (b *browser) page(path string) string {
	b.t.Helper()
	w := b.Get(path)
	require.Equal(b.t, http.StatusOK, w.Code, w.Body)
	return w.Body.String()
}

// isIn reports whether somebody is signed in.
func (b *browser) isIn() bool {
	b.t.Helper()
	w := b.Get("/session")
	if w.Code == http.StatusOK {
		return true
	}
	require.Equal(b.t, "/signin", w.Header().Get("Location"))
	return false
}

// A form that another site has posted is refused before anything is loaded: the sessions are not
// even there any more.
func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.signedUp("alice")
	require.NoError(t, s.sessionsDB.Close())
	cookie := b.Cookie
	for _, header := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://other.example"} {
		for _, path := range []string{"/signin", "/signup", "/signout", "/password", "/confirm", "/devices/end", "/devices/end-others"} {
			r := webapp.Form(path, "name=mallory&password=correct+horse")
			key, val, _ := strings.Cut(header, ": ")
			r.Header.Set(key, val)
			w := b.Do(r)
			assert.Equal(t, http.StatusForbidden, w.Code, "%s %s", path, header)
			assert.Contains(t, w.Body.String(), "This form came from another site", path)
			assert.Contains(t, w.Body.String(), "</html>")
			assert.Empty(t, w.Header().Values("Set-Cookie"))
		}
	}
	assert.Equal(t, cookie, b.Cookie)
}

// With the store down the visitor gets a page of the app, with its headers.
func TestStoreDown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.signedUp("alice")
	require.NoError(t, s.sessionsDB.Close())
	w := b.Get("/")
	assert.Equal(t, http.StatusInternalServerError, w.Code)
	assert.Contains(t, w.Body.String(), "Something is wrong on our side")
	assert.Contains(t, w.Body.String(), "</html>")
	assert.NotContains(t, w.Body.String(), "alice")
	assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	assert.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
	assert.Equal(t, http.StatusOK, b.Get("/static/style.css").Code, "files need no session")
}

// With the database of the users down, too.
func TestUsersDown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.signedUp("alice")
	require.NoError(t, s.users.db.Close())
	for _, w := range []*httptest.ResponseRecorder{
		b.Get("/"), b.post("/signin", "name", "alice", "password", password), b.post("/signup", "name", "bob", "password", password),
	} {
		assert.Equal(t, http.StatusInternalServerError, w.Code)
		assert.Contains(t, w.Body.String(), "Something is wrong on our side")
	}
}

// Only a cookie for HTTPS has the attribute Secure and the name that needs it, as browsers do not
// keep it without.
func TestSecure(t *testing.T) {
	t.Parallel()
	for https, want := range map[bool]string{
		false: `^flamego_session=[0-9a-z]{25}; Path=/; HttpOnly; SameSite=Lax$`,
		true:  `^__Host-session=[0-9a-z]{25}; Path=/; HttpOnly; Secure; SameSite=Lax$`,
	} {
		s := &site{t: t, https: https}
		s.open("memory", "")
		w := s.visitor().post("/signup", "name", "alice", "password", password)
		require.Len(t, w.Header().Values("Set-Cookie"), 1)
		assert.Regexp(t, want, w.Header().Get("Set-Cookie"))
	}
}

// The page of a panic has neither the stack nor the value. The log has both.
func TestPanic(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.handler.Get("/panic", func() { panic("the value") })
	w := s.visitor().Get("/panic")
	assert.Equal(t, http.StatusInternalServerError, w.Code)
	assert.Equal(t, "Internal Server Error", w.Body.String())
}

// logged returns what a function has logged. It is for tests that run alone.
func logged(t *testing.T, f func()) string {
	t.Helper()
	var text bytes.Buffer
	log.SetOutput(&text)
	defer log.SetOutput(os.Stderr)
	f()
	return text.String()
}

// What a visitor has sent does not begin a line of the log.
func TestLogLines(t *testing.T) {
	s := &site{t: t}
	s.open("memory", "")
	b := s.visitor()
	lines := logged(t, func() {
		r := webapp.Form("/signin%0Asecond%20line", "")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		require.Equal(t, http.StatusForbidden, b.Do(r).Code)
	})
	assert.Contains(t, lines, `POST "/signin\nsecond line": cross-origin`)
	assert.Equal(t, 1, strings.Count(lines, "\n"), lines)
}

// HEAD gets what GET gets, without the body, which is no error.
func TestHead(t *testing.T) {
	s := &site{t: t}
	s.open("memory", "")
	b := s.signedUp("alice")
	lines := logged(t, func() {
		for path, want := range map[string]int{"/": http.StatusOK, "/devices": http.StatusOK, "/signin": http.StatusSeeOther, "/nothing": http.StatusNotFound} {
			w := b.Do(httptest.NewRequest(http.MethodHead, path, http.NoBody))
			assert.Equal(t, want, w.Code, path)
			assert.Empty(t, w.Body.String(), path)
		}
	})
	assert.Empty(t, lines)
	assert.Contains(t, b.page("/"), "Your account is made.", "HEAD shows no flash")
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.signedUp("alice")
	for _, path := range []string{"/", "/session", "/devices", "/password", "/confirm", "/nothing"} {
		h := b.Get(path).Header()
		assert.Equal(t, "no-store", h.Get("Cache-Control"), path)
		assert.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
		assert.Equal(t, "same-origin", h.Get("Referrer-Policy"), path)
		assert.Contains(t, h.Get("Content-Security-Policy"), "frame-ancestors 'none'", path)
		assert.NotContains(t, h.Get("Content-Security-Policy"), "unsafe-inline", path)
	}

	w := s.visitor().Get("/static/style.css")
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Contains(t, w.Header().Get("Cache-Control"), "public")
	assert.Empty(t, w.Header().Values("Set-Cookie"))
	assert.Empty(t, w.Header().Values("Vary"))
	assert.Empty(t, s.visitor().Get("/signin").Header().Values("Set-Cookie"), "nothing is stored")
	assert.Equal(t, http.StatusNotFound, b.Get("/nothing").Code)
	assert.Contains(t, b.Get("/nothing").Body.String(), "There is no such page.")
}
