package session_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/csrf"
	"github.com/flamego/flamego"

	"github.com/flamego/session/internal/testing/mapbackend"

	"github.com/flamego/session"
)

func TestDefaultCookie(t *testing.T) {
	a := newApp(t, session.Options{})
	a.Get("/", func() string { return "ok" })
	w := a.get("/")
	lines := w.Header().Values("Set-Cookie")
	require.Len(t, lines, 1)
	require.Regexp(t, `^flamego_session=[0-9a-z]{16}; Path=/; HttpOnly; SameSite=Lax$`, lines[0])
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(t, "Cookie", w.Header().Get("Vary"))

	w = a.get("/")
	require.Empty(t, w.Header().Values("Set-Cookie"), "the ID is sent once")
	require.Empty(t, w.Header().Get("Cache-Control"))
	require.Equal(t, "Cookie", w.Header().Get("Vary"))
}

func TestCookieOptions(t *testing.T) {
	for _, tt := range []struct {
		opts session.CookieOptions
		want string
	}{
		{session.CookieOptions{Name: "n"}, `n=ID; Path=/; HttpOnly; SameSite=Lax`},
		{session.CookieOptions{AllowScript: true, HTTPOnly: true}, `flamego_session=ID; Path=/; SameSite=Lax`},
		{session.CookieOptions{Path: "/a", Domain: "example.com", SameSite: http.SameSiteStrictMode}, `flamego_session=ID; Path=/a; Domain=example.com; HttpOnly; SameSite=Strict`},
		{session.CookieOptions{Secure: true, SameSite: http.SameSiteNoneMode, Partitioned: true}, `flamego_session=ID; Path=/; HttpOnly; Secure; SameSite=None; Partitioned`},
		{session.CookieOptions{Name: "__Host-s", Secure: true}, `__Host-s=ID; Path=/; HttpOnly; Secure; SameSite=Lax`},
		{session.CookieOptions{MaxAge: 60}, `flamego_session=ID; Path=/; Max-Age=60; HttpOnly; SameSite=Lax`},
	} {
		a := newApp(t, session.Options{Cookie: tt.opts})
		a.Get("/", func(s session.Session) string { return s.ID() })
		w := a.get("/")
		require.Equal(t, []string{strings.Replace(tt.want, "ID", w.Body.String(), 1)}, w.Header().Values("Set-Cookie"))
	}
}

func TestCookieIsRenewedWithTheSession(t *testing.T) {
	a := newApp(t, session.Options{Cookie: session.CookieOptions{MaxAge: 60}, TouchInterval: -1})
	a.Get("/", func() {})
	a.Get("/set", func(s session.Session) { s.Set("key", 1) })
	a.get("/set")
	cookie := a.cookie
	require.Len(t, a.get("/").Header().Values("Set-Cookie"), 1, "the record was extended, and so must be the cookie")
	require.Equal(t, cookie, a.cookie)

	a.Get("/flash", func(s session.Session) { s.SetFlash("hello") })
	a.get("/flash")
	require.Len(t, a.get("/").Header().Values("Set-Cookie"), 1, "taking the flash has extended it too")
}

func TestIDs(t *testing.T) {
	for length, want := range map[int]int{0: 16, 2: 16, -1: 16, 3: 3, 40: 40} {
		a := newApp(t, session.Options{IDLength: length})
		a.Get("/", func(s session.Session) string { return s.ID() })
		require.Len(t, a.get("/").Body.String(), want)
	}
}

func TestSeveralCookiesOfOneName(t *testing.T) {
	a := newApp(t, session.Options{})
	a.Get("/", func(s session.Session) string { s.Set("key", 1); return s.ID() })
	sid := a.get("/").Body.String()
	a.cookie = "flamego_session=aaaaaaaaaaaaaaaa; " + a.cookie
	w := a.get("/")
	require.Equal(t, sid, w.Body.String(), "the one that the store knows is used")
	require.Empty(t, w.Header().Values("Set-Cookie"))
}

func TestInvalidIDsNeverReachTheStore(t *testing.T) {
	var seen []string
	a := newApp(t, backendOptions(noting(&seen)))
	a.Get("/", func() string { return "ok" })
	for _, value := range []string{"", "a", "short", "AAAAAAAAAAAAAAAA", "aaaaaaaaaaaaaaaaa", "../../../../../..", "aaaaaaaa%00aaaaa", `"aaaaaaaaaaaaaa"`, strings.Repeat("a", 4096)} {
		a.cookie = "flamego_session=" + value
		w := a.get("/")
		require.Equal(t, http.StatusOK, w.Code)
		require.Len(t, w.Header().Values("Set-Cookie"), 1)
	}
	require.Empty(t, seen)
	a.cookie = "flamego_session=aaaaaaaaaaaaaaaa"
	a.get("/")
	require.Equal(t, []string{"aaaaaaaaaaaaaaaa"}, seen)
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

// A ReadIDFunc may come up with anything, a cookie cannot.
func TestInvalidIDsFromReadIDFunc(t *testing.T) {
	var seen []string
	var sid string
	opts := backendOptions(noting(&seen))
	opts.ReadIDFunc = func(*http.Request) string { return sid }
	a := newApp(t, opts)
	a.Get("/", func(s session.Session) string { return s.ID() })
	for _, sid = range []string{"aaaaaaaaaaaaaaa\x00", "aaaaaaaa%00aaaaa", "ääääääää", "aaaaaaaaaaaaaaaА", "../aaaaaaaaaaaaa", "aaaaaaaaaaaaaaa\n", "A000000000000000", strings.Repeat("a", 4096)} {
		require.NotEqual(t, sid, a.get("/").Body.String())
	}
	require.Empty(t, seen)
}

func TestCustomIDFuncs(t *testing.T) {
	var calls []bool
	a := newApp(t, session.Options{
		ReadIDFunc: func(r *http.Request) string { return r.Header.Get("Session-Id") },
		WriteIDFunc: func(w http.ResponseWriter, _ *http.Request, sid string, created bool) {
			calls = append(calls, created)
			w.Header().Set("Session-Id", sid)
		},
	})
	a.Get("/", func(s session.Session) string {
		n, _ := session.Value[int](s, "n")
		s.Set("n", n+1)
		return strings.Repeat("x", n)
	})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for i := range 3 {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		require.Len(t, w.Body.String(), i)
		require.Empty(t, w.Header()["Set-Cookie"])
		require.Empty(t, w.Header()["Vary"])
		require.Empty(t, w.Header()["Cache-Control"])
		r.Header.Set("Session-Id", w.Header().Get("Session-Id"))
	}
	require.Equal(t, []bool{true, false, false}, calls)
}

// A WriteIDFunc may look at the session whose ID it sends.
func TestWriteIDFuncReadsTheSession(t *testing.T) {
	var s session.Session
	var seen string
	a := newApp(t, session.Options{WriteIDFunc: func(_ http.ResponseWriter, _ *http.Request, sid string, _ bool) {
		if s != nil {
			seen = s.ID()
			require.Equal(t, sid, seen)
		}
	}})
	a.Get("/", func(sess session.Session, w http.ResponseWriter, r *http.Request) {
		s = sess
		require.NoError(t, s.RegenerateID(w, r))
		require.Equal(t, s.ID(), seen)
	})
	a.get("/")
}

// A flash of a type that is declared in the app, and nowhere registered.
func TestFlashStruct(t *testing.T) {
	type notice struct{ Text string }
	type warning struct{ Text string }
	a := newApp(t, session.Options{})
	a.Get("/notice", func(s session.Session) { s.SetFlash(notice{"saved"}) })
	a.Get("/warning", func(s session.Session) { s.SetFlash(&warning{"careful"}) })
	a.Get("/", func(flash session.Flash) string {
		switch f := flash.(type) {
		case notice:
			return "notice: " + f.Text
		case *warning:
			return "warning: " + f.Text
		case nil:
			return "nothing"
		}
		return "something else"
	})
	require.Equal(t, "nothing", a.get("/").Body.String())
	a.get("/notice")
	require.Equal(t, "notice: saved", a.get("/").Body.String())
	require.Equal(t, "nothing", a.get("/").Body.String())
	a.get("/warning")
	require.Equal(t, "warning: careful", a.get("/").Body.String())
	require.Equal(t, "nothing", a.get("/").Body.String())
}

func TestNoFlashIsNil(t *testing.T) {
	a := newApp(t, session.Options{})
	a.Map(time.Second, "a service that a plain nil would be taken for")
	a.Get("/", func(s session.Session, flash session.Flash) {
		require.Nil(t, flash)
		s.Set("key", 1)
	})
	for range 100 {
		require.Equal(t, http.StatusOK, a.get("/").Code)
	}
}

func TestHandlersReceiveTheServices(t *testing.T) {
	a := newApp(t, session.Options{})
	a.Get("/", func(c flamego.Context, s session.Session, store session.Store, w http.ResponseWriter) {
		require.NotNil(t, store)
		require.Implements(t, (*flamego.ResponseWriter)(nil), w)
		require.False(t, c.ResponseWriter().Written())
		require.False(t, store.Exist(c.Request().Context(), s.ID()))
		_, err := w.Write([]byte("text"))
		require.NoError(t, err)
		require.True(t, c.ResponseWriter().Written())
		require.Equal(t, http.StatusOK, c.ResponseWriter().Status())
		require.Equal(t, 4, c.ResponseWriter().Size())
	})
	require.Equal(t, "text", a.get("/").Body.String())
}

// csrf, as it is, on top of our sessions.
func TestCSRF(t *testing.T) {
	for name, opts := range map[string]session.Options{
		"memory":      {},
		"file":        {Initer: session.FileIniter(), Config: session.FileConfig{RootDir: t.TempDir()}},
		"third party": {Initer: newBlindStore},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, opts)
			a.Use(csrf.Csrfer())
			a.Get("/form", func(x csrf.CSRF) string { return x.Token() })
			a.Get("/login", func(s session.Session) { s.Set("userID", 1) })
			a.Post("/form", csrf.Validate, func() string { return "accepted" })
			post := func(token string) *httptest.ResponseRecorder {
				r := httptest.NewRequest(http.MethodPost, "/form", nil)
				r.Header.Set("Cookie", a.cookie)
				r.Header.Set("X-CSRF-Token", token)
				w := httptest.NewRecorder()
				a.ServeHTTP(w, r)
				return w
			}

			token := a.get("/form").Body.String()
			require.NotEmpty(t, token)
			require.Equal(t, token, a.get("/form").Body.String())
			require.Equal(t, "accepted", post(token).Body.String())
			require.Equal(t, http.StatusBadRequest, post("x"+token).Code)

			a.get("/login")
			require.NotEqual(t, token, a.get("/form").Body.String(), "the token belongs to the user")
			require.Equal(t, http.StatusBadRequest, post(token).Code)
		})
	}
}
