package apps_test

import (
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/apps"
	"github.com/flamego/session/internal/testing/webapp"
	"github.com/flamego/session/sqlite"
)

// One app of each kind that needs no server.
func TestApps(t *testing.T) {
	for name, opts := range map[string][]session.Options{
		"memory":            nil,
		"memory, by name":   {{Initer: session.MemoryIniter(), Config: session.MemoryConfig{Lifetime: time.Minute}}},
		"memory, no Initer": {{Config: session.MemoryConfig{Lifetime: time.Minute}}},
		"file":              {{Initer: session.FileIniter(), Config: session.FileConfig{RootDir: filepath.Join(t.TempDir(), "sessions")}}},
		"file, whole": {{
			Initer: session.FileIniter(),
			Config: session.FileConfig{
				Lifetime: time.Hour, RootDir: t.TempDir(), Encoder: session.GobEncoder, Decoder: session.GobDecoder,
			},
		}},
		"sqlite": {{
			Initer: sqlite.Initer(),
			Config: sqlite.Config{DSN: filepath.Join(t.TempDir(), "app.db"), Table: "sessions", InitTable: true},
		}},
		"cookie": {{Cookie: session.CookieOptions{Name: "app", Path: "/", MaxAge: 3600, HTTPOnly: true, SameSite: http.SameSiteStrictMode}}},
		"ID, GC, errors": {{
			IDLength: 32, GCInterval: time.Second,
			ErrorFunc: func(err error) { log.Println(err) },
		}},
		"ID functions": {{
			ReadIDFunc: func(r *http.Request) string {
				c, err := r.Cookie("token")
				if err != nil {
					return ""
				}
				return c.Value
			},
			WriteIDFunc: func(w http.ResponseWriter, _ *http.Request, sid string, created bool) {
				if created {
					http.SetCookie(w, &http.Cookie{Name: "token", Value: sid, Path: "/"})
				}
			},
		}},
		"store of the app":        {{Initer: docIniter(), Config: docConfig{Lifetime: time.Minute}}},
		"session type of the app": {{Initer: plainIniter}},
		"two options":             {{}, {IDLength: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			apps.Visit(t, apps.New(opts...))
		})
	}
}

// The default cookie, byte for byte; it is there although nothing was stored.
func TestCookie(t *testing.T) {
	b := webapp.Connect(t, apps.Serve(t, apps.New()))
	got := b.Get("/get").Header()["Set-Cookie"]
	require.Len(t, got, 1)
	require.Regexp(t, `^flamego_session=[0-9a-z]{16}; Path=/; HttpOnly; SameSite=Lax$`, got[0])
}

// Sessions in memory belong to one Sessioner: those of the process before are gone.
func TestMemoryIsNotShared(t *testing.T) {
	before := webapp.Connect(t, apps.Serve(t, apps.New()))
	apps.Get(t, before, "/set", "Succeed")
	after := webapp.Connect(t, apps.Serve(t, apps.New()))
	after.Cookie = before.Cookie
	apps.Get(t, after, "/get", "Not authenticated")
	apps.Get(t, before, "/get", "Authenticated as 123")
}

// A token in a header, for clients that have no cookies.
func TestToken(t *testing.T) {
	const header = "X-Session-Token"
	app := apps.New(session.Options{
		ReadIDFunc: func(r *http.Request) string { return r.Header.Get(header) },
		WriteIDFunc: func(w http.ResponseWriter, _ *http.Request, sid string, created bool) {
			if created {
				w.Header().Set(header, sid)
			}
		},
	})
	address := apps.Serve(t, app)
	token := ""
	get := func(path string) (body string, h http.Header) {
		b := webapp.Connect(t, address)
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set(header, token)
		w := b.Do(r)
		if sent := w.Header().Get(header); sent != "" {
			token = sent
		}
		return w.Body.String(), w.Header()
	}

	body, h := get("/set")
	require.Equal(t, "Succeed", body)
	require.Len(t, token, 16)
	require.Empty(t, h["Set-Cookie"])
	body, h = get("/get")
	require.Equal(t, "Authenticated as 123", body)
	require.Empty(t, h[header], "the client knows it")

	old := token
	get("/login")
	require.NotEqual(t, old, token)
	body, _ = get("/get")
	require.Equal(t, "Authenticated as 123", body)
	token = old
	body, _ = get("/get")
	require.Equal(t, "Not authenticated", body)
}
