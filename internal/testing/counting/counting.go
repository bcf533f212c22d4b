// Package counting holds tests that all stores on a server share: what a request
// costs in round trips, what is left behind after Close, and what errors show.
// It is for tests only.
package counting

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/internal/testing/webapp"
)

// Server is a kind of store on a server.
type Server struct {
	// Addr is the host:port of the server.
	Addr string
	// Skip is that of tcpproxy.Rules.
	Skip func(question []byte) bool
	// Open returns the options of a store that reaches the server at addr. All
	// its stores have the same storage, which is made where it is missing.
	Open func(t testing.TB, addr string, encode session.Encoder) session.Options
	// Bad are options that cannot work, at start or later; with addr to go
	// through a proxy.
	Bad map[string]func(t testing.TB, addr string) session.Options
	// Hidden must be in no error: the password and the DSN for example.
	Hidden []string
}

func (s *Server) proxy(t testing.TB) *tcpproxy.Proxy {
	t.Helper()
	return tcpproxy.New(t, s.Addr, tcpproxy.Rules{Skip: s.Skip})
}

// app is a small app with sessions and a browser for it.
type app struct {
	*webapp.App
	*webapp.Browser
	t    testing.TB
	sids []string // all that the browser ever had

	during func() // what happens in the middle of /set
}

// canary is in the data of each session, and in no error.
const canary = "qzcanaryofdata"

type opaque struct{ Text string }

func newApp(t testing.TB, opts session.Options) (*app, error) {
	t.Helper()
	w, err := webapp.Open(opts)
	if err != nil {
		return nil, err
	}
	a := visitor(t, w)
	var n atomic.Int64
	w.Get("/read", func(s session.Session) string { return fmt.Sprint(s.Get("key")) })
	w.Get("/set", func(s session.Session) {
		s.Set("key", n.Add(1))
		s.Set("text", canary)
		if a.during != nil {
			a.during()
		}
	})
	w.Get("/flash", func(s session.Session) { s.SetFlash(canary) })
	w.Get("/renew", func(s session.Session, w http.ResponseWriter, r *http.Request) error { return s.RegenerateID(w, r) })
	w.Get("/logout", func(s session.Session, w http.ResponseWriter, r *http.Request) error {
		return session.Destroy(w, r, s)
	})
	w.Get("/large", func(s session.Session) { s.Set("large", strings.Repeat(canary, 1<<17)) })
	w.Get("/unregistered", func(s session.Session) { s.Set("opaque", opaque{canary}) })
	return a, nil
}

func visitor(t testing.TB, w *webapp.App) *app {
	return &app{App: w, Browser: webapp.NewBrowser(t, w), t: t}
}

func (a *app) get(path string) *httptest.ResponseRecorder {
	a.t.Helper()
	w := a.Browser.Get(path)
	if _, sid, ok := strings.Cut(a.Cookie, "="); ok {
		a.sids = append(a.sids, sid)
	}
	return w
}

// ok makes a request that succeeds.
func (a *app) ok(path string) {
	a.t.Helper()
	if w := a.get(path); w.Code != http.StatusOK {
		a.t.Errorf("%s: status %d: %v", path, w.Code, a.TakeErrors())
	}
}

// visit is some of everything that a visitor does.
func (a *app) visit() {
	a.t.Helper()
	a.Cookie = ""
	for _, path := range []string{"/read", "/read", "/set", "/read", "/set", "/flash", "/read", "/renew", "/read", "/logout"} {
		a.ok(path)
	}
	a.Cookie = ""
	a.ok("/set")
}

// RoundTrips tests what requests cost, once the connections are made and the
// statements prepared.
func (s *Server) RoundTrips(t *testing.T) {
	p := s.proxy(t)
	a, err := newApp(t, s.Open(t, p.Addr(), nil))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for range 3 {
		a.visit()
	}
	for _, tt := range []struct {
		what string
		path string
		want int
		// before prepares the visitor; what it costs is not counted.
		before string
	}{
		{"a request that reads", "/read", 1, "/set"},
		{"a request that changes something", "/set", 2, "/set"},
		{"a new visitor for whom nothing is stored", "/read", 0, ""},
		{"a new visitor for whom something is stored", "/set", 1, ""},
		{"a visitor for whom nothing is stored yet", "/read", 1, "/read"},
		{"the first thing that is stored for a visitor", "/set", 2, "/read"},
		{"a request that takes a flash", "/read", 2, "/flash"},
		{"a new ID, and a mark under the old one", "/renew", 3, "/set"},
		{"a new ID for a new visitor", "/renew", 0, ""},
		{"a logout", "/logout", 2, "/set"},
		{"a logout of nobody", "/logout", 0, ""},
	} {
		for range 5 {
			a.Cookie = ""
			if tt.before != "" {
				a.ok(tt.before)
			}
			begun := p.Trips()
			a.ok(tt.path)
			if got := p.Trips() - begun; got != tt.want {
				t.Errorf("%s: %d round trips, want %d", tt.what, got, tt.want)
			}
		}
	}

	a.ok("/set")
	begun := p.Trips()
	for range 100 {
		a.ok("/read")
	}
	got := p.Trips() - begun
	t.Logf("100 requests that read: %d round trips", got)
	if got < 100 || got > 102 {
		t.Errorf("100 requests that read: %d round trips, want 100, or 102 at most", got)
	}
	if errs := a.TakeErrors(); errs != nil {
		t.Error(errs)
	}
}
