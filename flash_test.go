package session_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

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
