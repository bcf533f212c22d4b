package session_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"sync"
	"testing"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/webapp"
)

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

// Whoever writes what a handler returns, it is written after the session was saved: if that
// fails, the response is a 500. Only where middleware after ours maps a ReturnHandler, which Flamego
// calls with its own Context, the response has begun by then.
func TestReturnHandlers(t *testing.T) {
	mark := func(text string) flamego.ReturnHandler {
		return func(c flamego.Context, vals []reflect.Value) {
			_, _ = c.ResponseWriter().Write([]byte(text + vals[0].String()))
		}
	}
	for name, test := range map[string]struct {
		app, before, after flamego.Handler
		want               string
		late               bool // the response is broken off instead
	}{
		"of Flamego":      {want: "ok"},
		"of the app":      {app: mark("app "), want: "app ok"},
		"of each request": {before: func(c flamego.Context) { c.Map(mark("mine ")) }, want: "mine ok"},
		"after ours":      {after: func(c flamego.Context) { c.Map(mark("late ")) }, want: "late ok", late: true},
		"around ours": {after: func(c flamego.Context) {
			ours := c.Value(reflect.TypeFor[flamego.ReturnHandler]()).Interface().(flamego.ReturnHandler)
			c.Map(flamego.ReturnHandler(func(c flamego.Context, vals []reflect.Value) {
				ours(c, []reflect.Value{reflect.ValueOf("wrapped " + vals[0].String())})
			}))
		}, want: "wrapped ok"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := session.New(session.Options{Initer: session.FileIniter(), Config: session.FileConfig{RootDir: t.TempDir()}})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, m.Close()) })
			f := flamego.NewWithLogger(io.Discard)
			if test.app != nil {
				f.Map(test.app)
			}
			if test.before != nil {
				f.Use(test.before)
			}
			f.Use(m.Handler())
			if test.after != nil {
				f.Use(test.after)
			}
			f.Get("/", func(s session.Session) string { s.Set("key", "val"); return "ok" })
			f.Get("/broken", func(s session.Session) string { s.Set("key", make(chan int)); return "ok" })
			b := webapp.NewBrowser(t, f)
			for range 3 {
				require.Equal(t, test.want, b.Get("/").Body.String())
				if test.late {
					require.Panics(t, func() { b.Get("/broken") })
					continue
				}
				w := b.Get("/broken")
				require.Equal(t, http.StatusInternalServerError, w.Code)
				require.NotContains(t, w.Body.String(), "ok")
			}
		})
	}
}

// One Manager serves apps that write in different ways, at the same time.
func TestReturnHandlersOfTwoApps(t *testing.T) {
	m, err := session.New()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		f := flamego.NewWithLogger(io.Discard)
		f.Map(flamego.ReturnHandler(func(c flamego.Context, vals []reflect.Value) {
			_, _ = c.ResponseWriter().Write([]byte(name + vals[0].String()))
		}))
		f.Use(m.Handler())
		f.Get("/", func(s session.Session) string { return strconv.Itoa(sessionCount(s)) })
		for range 2 {
			b := webapp.NewBrowser(t, f)
			wg.Go(func() {
				for i := range 200 {
					if got, want := b.Get("/").Body.String(), name+strconv.Itoa(i+1); got != want {
						t.Errorf("the response is %q, want %q", got, want)
					}
				}
			})
		}
	}
	wg.Wait()
}

// sessionCount counts the requests of a session.
func sessionCount(s session.Session) int {
	n, _ := session.Value[int](s, "n")
	s.Set("n", n+1)
	return n + 1
}

// Of two session middlewares, one inside the other, both have saved before the response begins.
func TestSessionsInsideOfSessions(t *testing.T) {
	open := func(name string) *session.Manager {
		m, err := session.New(session.Options{
			Initer: session.FileIniter(), Config: session.FileConfig{RootDir: t.TempDir()},
			Cookie: session.CookieOptions{Name: name},
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, m.Close()) })
		return m
	}
	outer, inner := open("outer"), open("inner")
	var outside session.Session
	f := flamego.NewWithLogger(io.Discard)
	f.Use(outer.Handler(), func(s session.Session) { outside = s }, inner.Handler())
	f.Get("/", func(s session.Session) string {
		return fmt.Sprint(sessionCount(outside), sessionCount(s))
	})
	f.Get("/broken", func(s session.Session, r *http.Request) string {
		if r.URL.Query().Has("outer") {
			s = outside
		}
		s.Set("key", make(chan int))
		return "ok"
	})
	cookies := make(map[string]string)
	get := func(path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		for name, val := range cookies {
			r.AddCookie(&http.Cookie{Name: name, Value: val})
		}
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		for _, c := range w.Result().Cookies() {
			cookies[c.Name] = c.Value
		}
		return w
	}
	for i := range 3 {
		require.Equal(t, fmt.Sprint(i+1, i+1), get("/").Body.String())
		require.Len(t, cookies, 2)
		require.Equal(t, http.StatusInternalServerError, get("/broken").Code)
		require.Equal(t, http.StatusInternalServerError, get("/broken?outer").Code)
	}
}
