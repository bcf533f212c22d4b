package session_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
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

// What middleware does after it has recovered from the panic of a handler counts, and
// nothing of what the handler did.
func TestMiddlewareRecovers(t *testing.T) {
	type after func(s session.Session, w http.ResponseWriter, r *http.Request)
	for name, tt := range map[string]struct {
		after after
		want  string // what the next request sees
	}{
		"nothing":      {func(session.Session, http.ResponseWriter, *http.Request) {}, "kept hello"},
		"sets":         {func(s session.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("key", "after") }, "after hello"},
		"sets a flash": {func(s session.Session, _ http.ResponseWriter, _ *http.Request) { s.SetFlash("sorry") }, "kept sorry"},
		"renews": {func(s session.Session, w http.ResponseWriter, r *http.Request) {
			require.NoError(t, s.RegenerateID(w, r))
		}, "kept hello"},
		"destroys": {func(s session.Session, w http.ResponseWriter, r *http.Request) {
			require.NoError(t, session.Destroy(w, r, s))
		}, "<nil> <nil>"},
	} {
		for _, status := range []int{http.StatusFound, http.StatusInternalServerError} {
			t.Run(fmt.Sprintf("%s, %d", name, status), func(t *testing.T) {
				onBoth(t, func(t *testing.T, opts session.Options) {
					a := newApp(t, opts)
					a.Get("/set", func(s session.Session) { s.Set("key", "kept"); s.SetFlash("hello") })
					a.Get("/get", func(s session.Session, flash session.Flash) string {
						return fmt.Sprintf("%v %v", s.Get("key"), flash)
					})
					a.Get("/panic", func(c flamego.Context, s session.Session, w http.ResponseWriter, r *http.Request) {
						defer func() {
							_ = recover()
							tt.after(s, w, r)
							w.WriteHeader(status)
						}()
						c.Next()
					}, func(s session.Session) {
						s.Set("key", "changed")
						s.Set("more", 1)
						panic("in the handler")
					})
					a.get("/set")
					old := a.cookie
					require.Equal(t, status, a.get("/panic").Code)
					require.Equal(t, name == "renews" || name == "destroys", a.cookie != old)
					require.Equal(t, name != "renews" && name != "destroys", a.Store().Exist(context.Background(), sidOf(old)))
					require.Equal(t, tt.want, a.get("/get").Body.String())
					require.Nil(t, get(t, a.Store(), sidOf(old), "more"))
					require.Empty(t, a.TakeErrors())
				})
			})
		}
	}
}

// A new ID that the client was sent, with nothing stored under it, is the ID that counts
// after a panic, too.
func TestMiddlewareSetsAfterARenewal(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		a.Get("/", func(c flamego.Context, s session.Session) {
			defer func() {
				_ = recover()
				s.Set("key", "after")
			}()
			c.Next()
		}, func(s session.Session, w http.ResponseWriter, r *http.Request) {
			require.NoError(t, s.RegenerateID(w, r))
			write(w, "begun")
			panic("in the handler")
		})
		a.get("/")
		require.Equal(t, "after", get(t, a.Store(), sidOf(a.cookie), "key"))
		require.Empty(t, a.TakeErrors())
	})
}

// A flash is given back once, however often a request panics: another request may have
// shown it in between.
func TestPanicsGiveTheFlashBackOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		cookie := a.visit(func(s session.Session) { s.SetFlash("hello") })
		show := func() (got session.Flash) {
			a.once(cookie, func(flash session.Flash) string { got = flash; return "ok" })
			return got
		}
		a.Get("/panic", func(c flamego.Context) {
			for range 2 {
				func() {
					defer func() { _ = recover() }()
					c.Next()
				}()
				show()
			}
		}, func() { panic("once") }, func() { panic("again") })
		a.cookie = cookie
		a.get("/panic")
		require.Nil(t, show())
	})
}

// While a flash is given back, a goroutine of the handler may save the session by hand.
func TestPanicBesideASaveByHand(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		for range 20 {
			cookie := a.visit(func(s session.Session) { s.SetFlash("hello") })
			var wg sync.WaitGroup
			require.Panics(t, func() {
				a.once(cookie, func(s session.Session, _ session.Flash) {
					wg.Go(func() {
						for i := range 5 {
							s.Set("late", i)
							_ = a.Store().Save(context.Background(), s)
						}
					})
					panic("in the handler")
				})
			})
			wg.Wait()
		}
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

// A flash that could not be given back is lost. What the middleware that recovers does to the session
// must not put it over a flash that another request has set meanwhile.
func TestPanicBesideNewerFlashAfterAFailure(t *testing.T) {
	refuses := false
	a := newApp(t, backendOptions(before(func(context.Context, string, string) error {
		if refuses {
			return session.ErrNotApplied
		}
		return nil
	})))
	a.Get("/set", func(s session.Session) { s.SetFlash("old") })
	a.Get("/newer", func(s session.Session) { s.SetFlash("newer") })
	a.Get("/get", func(flash session.Flash) string { return fmt.Sprint(flash) })
	a.Get("/panic", func(c flamego.Context, w http.ResponseWriter) {
		defer func() {
			_ = recover()
			refuses = false
			a.visitor(a.cookie).get("/newer")
			w.WriteHeader(http.StatusInternalServerError)
		}()
		c.Next()
	}, func(flash session.Flash) {
		require.Equal(t, "old", flash)
		refuses = true
		panic("in the handler")
	})
	a.get("/set")
	a.get("/panic")
	require.Len(t, a.TakeErrors(), 1)
	require.Equal(t, "newer", a.get("/get").Body.String())
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
