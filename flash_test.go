package session_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

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

// A client that hangs up before its handler has run leaves its flash behind, and does
// not interrupt what takes the flash out of the store and gives it back.
func TestFlashOfHungUp(t *testing.T) {
	for _, during := range []string{"Load", "Swap"} {
		t.Run(during, func(t *testing.T) {
			hangUp := func() {} // during the next operation of the kind
			a := newApp(t, backendOptions(before(func(ctx context.Context, method, _ string) error {
				if method == during {
					hangUp()
				}
				if method == "Swap" {
					require.NoError(t, ctx.Err())
				}
				return nil
			})))
			ran := 0
			a.Get("/set", func(s session.Session) string { s.Set("k", 1); s.SetFlash("hello"); return "ok" })
			a.Get("/", func(f session.Flash) string { ran++; s, _ := f.(string); return s })
			a.get("/set")

			ctx, cancel := context.WithCancel(context.Background())
			hangUp = cancel
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
			r.Header.Set("Cookie", a.cookie)
			a.ServeHTTP(httptest.NewRecorder(), r)
			hangUp = func() {}
			require.Zero(t, ran)
			require.Equal(t, "hello", a.get("/").Body.String())
			require.Empty(t, a.TakeErrors())
		})
	}
}

// Only a request that may show a flash takes it.
func TestFlashFor(t *testing.T) {
	type request struct {
		method string
		fields []string
	}
	keeps := []request{
		{"HEAD", nil}, {"OPTIONS", nil},
		{"GET", []string{"Sec-Purpose: prefetch"}}, {"GET", []string{"Sec-Purpose: prefetch;prerender"}},
	}
	for _, dest := range []string{"image", "style", "script", "font", "track", "audio", "video", "manifest", "worker", "sharedworker", "serviceworker"} {
		keeps = append(keeps, request{"GET", []string{"Sec-Fetch-Dest: " + dest}})
	}
	takes := []request{
		{"GET", nil}, {"POST", nil}, {"DELETE", nil}, {"GET", []string{"Sec-Purpose: other"}},
		{"GET", []string{"Sec-Fetch-Dest: document"}}, {"GET", []string{"Sec-Fetch-Dest: iframe"}}, {"GET", []string{"Sec-Fetch-Dest: empty"}},
	}
	onEach(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		var got session.Flash
		show := func(flash session.Flash) { got = flash }
		for _, r := range takes {
			cookie := "Cookie: " + a.visit(func(s session.Session) { s.SetFlash("hello") })
			for _, r := range keeps {
				a.with(r.method, append(r.fields, cookie), show)
				require.Nil(t, got, "%s %q", r.method, r.fields)
			}
			a.with(r.method, append(r.fields, cookie), show)
			require.Equal(t, "hello", got, "%s %q", r.method, r.fields)
			a.with("GET", []string{cookie}, show)
			require.Nil(t, got)
		}

		// An app may decide by itself.
		opts.FlashFor = func(r *http.Request) bool { return r.Method == http.MethodHead }
		a = newApp(t, opts)
		cookie := "Cookie: " + a.visit(func(s session.Session) { s.SetFlash("hello") })
		a.with("GET", []string{cookie}, show)
		require.Nil(t, got)
		a.with("HEAD", []string{cookie}, show)
		require.Equal(t, "hello", got)
	})
}

// A flash that a request does not take may be replaced by it.
func TestFlashThatIsNotTaken(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		cookie := "Cookie: " + a.visit(func(s session.Session) { s.SetFlash("old") })
		a.with("HEAD", []string{cookie}, func(s session.Session) { s.SetFlash("new") })
		a.with("GET", []string{cookie}, func(flash session.Flash) { require.Equal(t, "new", flash) })
	})
}

// A flash that no handler has seen, because the client hung up in a middleware after the
// sessions, is given back.
func TestFlashOfHungUpInAMiddleware(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		for _, replaced := range []bool{false, true} {
			cookie := a.visit(func(s session.Session) { s.SetFlash("hello"); s.Set("n", 1) })
			ctx, hangUp := context.WithCancel(t.Context())
			f := flamego.NewWithLogger(nowhere{})
			f.Use(a.Handler(), func(s session.Session) {
				if s.Set("n", 2); replaced {
					s.SetFlash("newer")
				}
				hangUp()
			})
			f.Get("/", func(flash session.Flash) string { t.Error("the handler runs"); return "" })
			r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)
			r.Header.Set("Cookie", cookie)
			f.ServeHTTP(httptest.NewRecorder(), r)

			want := map[bool]string{false: "hello", true: "newer"}[replaced]
			a.once(cookie, func(flash session.Flash, s session.Session) string {
				require.Equal(t, want, flash)
				require.Equal(t, 2, s.Get("n"))
				return "ok"
			})
			a.once(cookie, func(flash session.Flash) string { require.Nil(t, flash); return "ok" })
		}
		require.Empty(t, a.TakeErrors())
	})
}
