package session_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
	"github.com/flamego/session/internal/testing/webapp"
)

// app is an app with the one visitor that most tests need.
type app struct {
	*webapp.App
	t      testing.TB
	cookie string // what the visitor's browser sends
}

func newApp(t testing.TB, opts session.Options) *app {
	t.Helper()
	return &app{App: webapp.New(t, opts), t: t}
}

// visitor is the app with another visitor.
func (a *app) visitor(cookie string) *app { return &app{a.App, a.t, cookie} }

// get makes a request with the cookie of the visitor and keeps a new one.
func (a *app) get(path string) *httptest.ResponseRecorder {
	a.t.Helper()
	b := webapp.NewBrowser(a.t, a)
	b.Cookie = a.cookie
	w := b.Get(path)
	a.cookie = b.Cookie
	return w
}

// once serves one request by the given handlers. It may be called by a handler.
func (a *app) once(cookie string, hs ...flamego.Handler) *httptest.ResponseRecorder {
	f := flamego.NewWithLogger(io.Discard)
	f.Use(a.Handler())
	f.Get("/", hs...)
	b := webapp.NewBrowser(a.t, f)
	b.Cookie = cookie
	return b.Get("/")
}

// visit makes a request that stores something, and returns its cookie.
func (a *app) visit(f func(s session.Session)) string {
	w := a.once("", func(s session.Session) string { f(s); return "ok" })
	name, _, _ := strings.Cut(w.Header().Get("Set-Cookie"), ";")
	return name
}

// serve runs the app on a real server.
func (a *app) serve(t testing.TB, http2 bool) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(a)
	if server.EnableHTTP2 = http2; http2 {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server
}

// onBoth runs a test on the memory store and on the portable one.
func onBoth(t *testing.T, f func(t *testing.T, opts session.Options)) {
	t.Run("memory", func(t *testing.T) { f(t, session.Options{}) })
	t.Run("backend", func(t *testing.T) { f(t, backendOptions(mapbackend.New())) })
}

// backendOptions are those of an app with a store on the backend.
func backendOptions(b session.Backend) session.Options {
	return session.Options{Initer: func(_ context.Context, args ...interface{}) (session.Store, error) {
		sc := session.StoreConfig{}
		for _, arg := range args {
			if w, ok := arg.(session.IDWriter); ok {
				sc.IDWriter = w
			}
		}
		return session.NewStore(b, sc), nil
	}}
}

// before is a backend that calls f before each operation, as mapbackend.Backend says.
func before(f func(ctx context.Context, method, sid string) error) *mapbackend.Backend {
	b := mapbackend.New()
	b.Before = f
	return b
}

func sidOf(cookie string) string {
	_, sid, _ := strings.Cut(cookie, "=")
	return sid
}

// ours returns the lines of our cookie in a response.
func ours(h http.Header) (lines []string) {
	for _, line := range h.Values("Set-Cookie") {
		if strings.HasPrefix(line, "flamego_session=") {
			lines = append(lines, line)
		}
	}
	return lines
}

// write answers through the writer, by the means that it has.
func write(w io.Writer, text string) { _, _ = io.WriteString(w, text) }

// save changes a session of a store by pairs of a key and a value.
func save(t testing.TB, store session.Store, sid string, pairs ...interface{}) {
	t.Helper()
	s, err := store.Read(context.Background(), sid)
	require.NoError(t, err)
	for i := 0; i < len(pairs); i += 2 {
		s.Set(pairs[i], pairs[i+1])
	}
	require.NoError(t, store.Save(context.Background(), s))
}

// get returns what a session of a store has under a key.
func get(t testing.TB, store session.Store, sid string, key interface{}) interface{} {
	t.Helper()
	s, err := store.Read(context.Background(), sid)
	require.NoError(t, err)
	return s.Get(key)
}

// heap returns the bytes that are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools keep survives one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// noting is a backend that notes the IDs that are looked up.
func noting(seen *[]string) *mapbackend.Backend {
	return before(func(_ context.Context, method, sid string) error {
		if method == "Load" {
			*seen = append(*seen, sid)
		}
		return nil
	})
}
