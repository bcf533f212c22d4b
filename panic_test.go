package session_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// withRecovery runs a test with a Recovery at each place that there is for one.
func withRecovery(t *testing.T, f func(t *testing.T, a *app)) {
	pass := func(c flamego.Context) { c.Next() } // middleware of an app
	for name, order := range map[string]func(sessions flamego.Handler) []flamego.Handler{
		"recovery before": func(s flamego.Handler) []flamego.Handler { return []flamego.Handler{flamego.Recovery(), s, pass} },
		"recovery after":  func(s flamego.Handler) []flamego.Handler { return []flamego.Handler{s, flamego.Recovery(), pass} },
		"recovery last":   func(s flamego.Handler) []flamego.Handler { return []flamego.Handler{s, pass, pass, flamego.Recovery()} },
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, opts session.Options) {
				a := newApp(t, opts)
				a.Handlers(order(a.Handler())...)
				a.Get("/set", func(s session.Session) { s.Set("key", "kept"); s.SetFlash("hello") })
				a.Get("/get", func(s session.Session, flash session.Flash) string {
					return fmt.Sprintf("%v %v", s.Get("key"), flash)
				})
				a.get("/set")
				f(t, a)
				require.Empty(t, a.TakeErrors())
			})
		})
	}
}

// A handler that panics changes nothing, and its flash is for the next request,
// wherever the panic is caught.
func TestPanic(t *testing.T) {
	withRecovery(t, func(t *testing.T, a *app) {
		a.Get("/panic", func(s session.Session, w http.ResponseWriter, r *http.Request) {
			s.Set("key", "changed")
			require.NoError(t, s.RegenerateID(w, r))
			panic("in the handler")
		})
		w := a.get("/panic")
		require.Equal(t, http.StatusInternalServerError, w.Code)
		require.Empty(t, w.Header().Values("Set-Cookie"))
		require.Equal(t, "kept hello", a.get("/get").Body.String())
	})
}

// Middleware that panics after the handlers undoes what they did, too.
func TestPanicOfMiddleware(t *testing.T) {
	withRecovery(t, func(t *testing.T, a *app) {
		a.Get("/panic",
			func(c flamego.Context) { c.Next(); panic("in the middleware") },
			func(s session.Session) { s.Set("key", "changed") },
		)
		require.Equal(t, http.StatusInternalServerError, a.get("/panic").Code)
		require.Equal(t, "kept hello", a.get("/get").Body.String())
	})
}

// What was set before the first byte is committed then; what was set between the
// first byte and a panic is not. The response may have shown the flash.
func TestPanicAfterTheFirstByte(t *testing.T) {
	withRecovery(t, func(t *testing.T, a *app) {
		a.Get("/panic", func(s session.Session, w http.ResponseWriter) {
			s.Set("key", "before")
			write(w, "begun")
			s.Set("key", "after")
			panic("in the handler")
		})
		require.Equal(t, http.StatusOK, a.get("/panic").Code)
		require.Equal(t, "before <nil>", a.get("/get").Body.String())
	})
}

// A handler that recovers by itself has not panicked, whatever it answers.
func TestHandlerRecoversItself(t *testing.T) {
	withRecovery(t, func(t *testing.T, a *app) {
		a.Get("/panic", func(s session.Session, w http.ResponseWriter) {
			defer func() {
				_ = recover()
				s.Set("key", fmt.Sprint(s.Get("key"), " and saved"))
				w.WriteHeader(http.StatusInternalServerError)
			}()
			s.Set("key", "changed")
			panic("in the handler")
		})
		require.Equal(t, http.StatusInternalServerError, a.get("/panic").Code)
		require.Equal(t, "changed and saved <nil>", a.get("/get").Body.String())
	})
}

// A handler that panics gives its flash back, but not over a newer one.
func TestPanicBesideNewerFlash(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		for want, newer := range map[string]bool{"one": false, "two": true} {
			a := newApp(t, opts)
			cookie := a.visit(func(s session.Session) { s.Set("key", 1); s.SetFlash("one") })
			require.Panics(t, func() {
				a.once(cookie, func(s session.Session, flash session.Flash) {
					require.Equal(t, "one", flash)
					if newer {
						a.once(cookie, func(s session.Session) string { s.SetFlash("two"); return "ok" })
					}
					panic("no")
				})
			})
			var got session.Flash
			a.once(cookie, func(flash session.Flash) string { got = flash; return "ok" })
			require.Equal(t, want, got)
		}
	})
}

// A panic gives back the flash, but not over one that the handler has saved itself.
func TestPanicAfterAFlashSavedByHand(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		cookie := a.visit(func(s session.Session) { s.SetFlash("old") })
		require.Panics(t, func() {
			a.once(cookie, func(s session.Session, store session.Store, r *http.Request) {
				s.SetFlash("new")
				require.NoError(t, store.Save(r.Context(), s))
				panic("a defect")
			})
		})
		a.once(cookie, func(flash session.Flash) string {
			require.Equal(t, "new", flash)
			return "ok"
		})
	})
}

// bomb is a value whose encoding panics.
type bomb struct{}

func (bomb) GobEncode() ([]byte, error) { panic("secret") }

func (bomb) GobDecode([]byte) error { return nil }

// An encoder that panics fails the commit like one that returns an error, and
// the session is not locked for good.
func TestEncoderPanics(t *testing.T) {
	a := newApp(t, backendOptions(mapbackend.New()))
	a.Get("/set", func(s session.Session) { s.Set("key", 1); s.SetFlash("hello") })
	a.Get("/bomb", func(s session.Session) string { s.Set("bomb", bomb{}); return "ok" })
	a.Get("/get", func(s session.Session) string { s.Set("key", 2); return "fine" })
	a.get("/set")
	require.Equal(t, http.StatusInternalServerError, a.get("/bomb").Code)
	errs := a.TakeErrors()
	require.Len(t, errs, 1)
	require.NotContains(t, errs[0].Error(), "secret")
	require.Equal(t, "fine", a.get("/get").Body.String())
}

func TestBackendPanics(t *testing.T) {
	store := session.NewStore(before(func(_ context.Context, method, _ string) error {
		if method == "Swap" {
			panic("in the backend")
		}
		return nil
	}), session.StoreConfig{})
	save(t, store, "abcdef", "key", 1)
	s, err := store.Read(context.Background(), "abcdef")
	require.NoError(t, err)
	s.Set("key", 2)
	for range 2 { // the second time nothing is locked
		require.Panics(t, func() { _ = store.Save(context.Background(), s) })
		require.True(t, s.HasChanged())
	}
}
