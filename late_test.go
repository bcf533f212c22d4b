package session_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/webapp"
)

// Changes after the first byte are stored for a client that has the ID, or that the
// response has sent it. For any other they are dropped and reported; the response is not
// broken off for them, and the next request works.
func TestLateChanges(t *testing.T) {
	late := map[string][]flamego.Handler{
		"after Next": {
			func(c flamego.Context, s session.Session) { c.Next(); s.Set("last", 1); s.Set("more", 1) },
			func() string { return "ok" },
		},
		"after a flush": {func(w http.ResponseWriter, s session.Session) {
			w.(http.Flusher).Flush()
			s.Set("last", 1)
			write(w, "ok")
			s.Set("more", 1)
		}},
	}
	for name, handlers := range late {
		for _, tt := range []struct {
			who    string
			fields []string
			stored bool
		}{
			{"a visitor without an ID", nil, true},
			{"an unknown ID", []string{"Cookie: flamego_session=" + planted}, true},
			{"an unknown ID, for a part of a page", []string{"Cookie: flamego_session=" + planted, "Sec-Fetch-Mode: cors"}, false},
			{"a cookie that was held back", []string{"Sec-Fetch-Site: cross-site"}, false},
		} {
			t.Run(name+", "+tt.who, func(t *testing.T) {
				onEach(t, func(t *testing.T, opts session.Options) {
					a := newApp(t, opts)
					sid := ""
					note := func(s session.Session) { sid = s.ID() }
					for range 3 {
						w := a.with(http.MethodGet, tt.fields, append([]flamego.Handler{note}, handlers...)...)
						require.Equal(t, "ok", w.Body.String())
						require.Equal(t, tt.stored, len(ours(w.Result().Header)) == 1)
						require.Equal(t, tt.stored, a.Store().Exist(t.Context(), sid))
						errs := a.TakeErrors()
						if tt.stored {
							require.Empty(t, errs)
							require.Equal(t, 1, get(t, a.Store(), sid, "more"))
							continue
						}
						require.Len(t, errs, 1)
						require.ErrorContains(t, errs[0], "made after the response began")
						require.NotContains(t, errs[0].Error(), sid)
					}
				})
			})
		}
	}
}

// The same on a real server, where a response that is broken off is an error.
func TestLateChangeBreaksNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		a.Get("/", func(c flamego.Context, s session.Session) { c.Next(); s.Set("last", 1) }, func() string { return "ok" })
		server := a.serve(t, false)
		b := webapp.Connect(t, server.URL)
		for range 2 {
			b.Cookie = "flamego_session=" + planted
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Sec-Fetch-Mode", "cors")
			require.Equal(t, "ok", b.Do(r).Body.String())
			require.Len(t, a.TakeErrors(), 1)
		}
		b.Cookie = "flamego_session=" + planted
		require.Equal(t, "ok", b.Get("/").Body.String())
		require.Empty(t, a.TakeErrors())
		require.Equal(t, 1, get(t, a.Store(), sidOf(b.Cookie), "last"))
	})
}

// By hand, too, nothing is stored under an ID that nobody has.
func TestLateSaveByHand(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		w := a.with(http.MethodGet, []string{"Sec-Fetch-Site: cross-site"}, func(s session.Session, store session.Store, w http.ResponseWriter, r *http.Request) {
			write(w, "ok")
			s.Set("last", 1)
			require.ErrorContains(t, store.Save(r.Context(), s), "made after the response began")
			require.False(t, store.Exist(r.Context(), s.ID()))
		})
		require.Equal(t, "ok", w.Body.String())
	})
}

// What is set when the request has ended is reported, once. It can still be saved by hand.
func TestChangeAfterTheRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		var s session.Session
		var store session.Store
		a.once("", func(sess session.Session, injected session.Store) string {
			s, store = sess, injected
			s.Set("key", 1)
			return "ok"
		})
		require.Empty(t, a.TakeErrors())
		for range 3 {
			s.Set("key", 2)
			s.Delete("key")
			s.SetFlash("hello")
			s.Flush()
			s.Set("key", 3)
		}
		require.Error(t, s.RegenerateID(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)))
		errs := a.TakeErrors()
		require.Len(t, errs, 1)
		require.ErrorContains(t, errs[0], "after its request had ended")
		require.Equal(t, 1, get(t, a.Store(), s.ID(), "key"))
		require.NoError(t, store.Save(context.Background(), s))
		require.Equal(t, 3, get(t, a.Store(), s.ID(), "key"))

		require.Error(t, session.Destroy(httptest.NewRecorder(), nil, s))
		require.Empty(t, a.TakeErrors(), "once for each request")
	})
}

// A goroutine of the handler may save by the injected store, while the response is
// written and after it. The race detector sees whether it touches the header.
func TestSaveByAGoroutine(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		opts.Cookie.MaxAge, opts.TouchInterval = 60, -1
		a := newApp(t, opts)
		var background sync.WaitGroup
		a.Get("/", func(s session.Session, store session.Store, w http.ResponseWriter, c flamego.Context) {
			background.Go(func() {
				for i := range 20 {
					s.Set("background", fmt.Sprint(c.Query("n"), "/", i))
					_ = store.Save(context.Background(), s) // it may come after the first byte
					time.Sleep(100 * time.Microsecond)
				}
			})
			for i := range 10 {
				w.Header().Set("X-Count", fmt.Sprint(i))
				time.Sleep(50 * time.Microsecond)
			}
			write(w, "ok")
			w.(http.Flusher).Flush()
			write(w, "ok")
		})
		a.Get("/set", func(s session.Session) { s.Set("key", 1) })
		server := a.serve(t, false)
		b := webapp.Connect(t, server.URL)
		b.Get("/set")
		for n := range 50 {
			require.Equal(t, "okok", b.Get(fmt.Sprint("/?n=", n)).Body.String())
		}
		background.Wait()
		require.Equal(t, "49/19", get(t, a.Store(), sidOf(b.Cookie), "background"))
	})
}

// A save by hand alone sends the cookie, too.
func TestSaveByHandSendsTheCookie(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		save := func(s session.Session, store session.Store, r *http.Request) string {
			s.Set("key", 1)
			require.NoError(t, store.Save(r.Context(), s))
			return s.ID()
		}
		for _, fields := range [][]string{nil, {"Cookie: flamego_session=" + planted}, {"Sec-Fetch-Site: cross-site"}} {
			w := a.with(http.MethodGet, fields, save)
			require.Len(t, ours(w.Header()), 1)
			require.Equal(t, 1, get(t, a.Store(), w.Body.String(), "key"))
		}
	})
}
