package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// The first request of a visitor is still writing its response when the second
// one, to which the browser has the ID already, stores something.
func TestFirstRequestStreams(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		var sid string
		a.once("", func(s session.Session, w http.ResponseWriter) {
			sid = s.ID()
			write(w, "head")
			a.once("flamego_session="+sid, func(s session.Session) string { s.Set("b", 2); return "ok" })
			s.Set("a", 1)
		})
		require.Empty(t, a.TakeErrors())
		require.Equal(t, 1, get(t, a.Store(), sid, "a"))
		require.Equal(t, 2, get(t, a.Store(), sid, "b"))
	})
}

// A slow request under the ID that a login has replaced leaves the cookie alone:
// the browser may have the new one by now.
func TestSlowRequestBesideLogin(t *testing.T) {
	for name, change := range map[string]bool{"changed": true, "touched": false} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, opts session.Options) {
				if !change {
					opts.TouchInterval, opts.Cookie.MaxAge = -1, 60
				}
				a := newApp(t, opts)
				cookie := a.visit(func(s session.Session) { s.Set("old", 1) })
				w := a.once(cookie, func(s session.Session) string {
					a.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
						require.NoError(t, s.RegenerateID(w, r))
						return "ok"
					})
					if change {
						s.Set("late", 1)
					}
					return "ok"
				})
				require.Equal(t, http.StatusOK, w.Code)
				require.Empty(t, w.Header().Values("Set-Cookie"))
				require.False(t, a.Store().Exist(context.Background(), sidOf(cookie)))
			})
		})
	}
}

// A session that was renewed and destroyed in one request is destroyed: slow requests
// beside it tell the browser so.
func TestSlowRequestBesideRenewalAndLogout(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		cookie := a.visit(func(s session.Session) { s.Set("old", 1) })
		w := a.once(cookie, func(s session.Session) string {
			a.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
				require.NoError(t, s.RegenerateID(w, r))
				require.NoError(t, session.Destroy(w, r, s))
				return "ok"
			})
			s.Set("late", 1)
			return "ok"
		})
		require.Contains(t, w.Header().Get("Set-Cookie"), "Max-Age=0")
	})
}

// Where the renewal failed, the old ID is as good as ever, and said to be.
func TestSlowRequestBesideFailedLogin(t *testing.T) {
	opts := backendOptions(before(func(_ context.Context, method, _ string) error {
		if method == "Rename" {
			return errors.New("no")
		}
		return nil
	}))
	opts.TouchInterval, opts.Cookie.MaxAge = -1, 60
	a := newApp(t, opts)
	cookie := a.visit(func(s session.Session) { s.Set("old", 1) })
	w := a.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
		require.NoError(t, s.RegenerateID(w, r))
		return "ok"
	})
	require.Equal(t, http.StatusInternalServerError, w.Code)
	w = a.once(cookie, func(session.Session) string { return "ok" })
	require.Contains(t, w.Header().Get("Set-Cookie"), cookie)
}

// A logout of a session that holds nothing yet is one all the same: a request
// that was under way stores nothing under its ID.
func TestDestroyOfAnEmptySession(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		cookie := a.visit(func(session.Session) {})
		a.once(cookie, func(s session.Session) string {
			a.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
				require.NoError(t, session.Destroy(w, r, s))
				return "bye"
			})
			s.Set("user", 1)
			return "ok"
		})
		require.False(t, a.Store().Exist(context.Background(), sidOf(cookie)))
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

// A client that hangs up before its handler has run leaves its flash behind.
func TestFlashOfHungUp(t *testing.T) {
	hangUp := func() {} // during the next load
	a := newApp(t, backendOptions(before(func(_ context.Context, method, _ string) error {
		if method == "Load" {
			hangUp()
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
}

// Cookies of our name that cannot be ours keep nobody from the one that is.
func TestManyForeignCookies(t *testing.T) {
	a := newApp(t, session.Options{})
	cookie := a.visit(func(s session.Session) { s.Set("key", 1) })
	junk := strings.Repeat("flamego_session=junk; ", 20)
	w := a.once(junk+cookie, func(s session.Session) string { require.Equal(t, 1, s.Get("key")); return "ok" })
	require.Equal(t, http.StatusOK, w.Code)
}

// A session that begins and ends in one request is nobody's business.
func TestSetAndDestroyOfANewVisitor(t *testing.T) {
	var calls []string
	a := newApp(t, backendOptions(before(func(_ context.Context, method, _ string) error {
		if method != "Sweep" {
			calls = append(calls, method)
		}
		return nil
	})))
	w := a.once("", func(s session.Session, w http.ResponseWriter, r *http.Request) string {
		s.Set("key", 1)
		require.NoError(t, session.Destroy(w, r, s))
		return "ok"
	})
	require.Equal(t, http.StatusOK, w.Code)
	require.Empty(t, calls)
}

// The ID is read from a Cookie header as package net/http would read it.
func TestCookieHeader(t *testing.T) {
	a := newApp(t, session.Options{})
	cookie := a.visit(func(s session.Session) { s.Set("key", 1) })
	sid := sidOf(cookie)
	for header, want := range map[string]bool{
		cookie:                                        true,
		"a=b; " + cookie + "; c=d":                    true,
		"a=b;" + cookie + ";c=d":                      true,
		" \t" + cookie + "\t ":                        true,
		`flamego_session="` + sid + `"`:               true,
		"flamego_session=; " + cookie:                 true,
		"x" + cookie:                                  false,
		"Flamego_session=" + sid:                      false,
		"flamego_session2=" + sid:                     false,
		`flamego_session="` + sid:                     false,
		"flamego_session=" + sid + "x":                false,
		"flamego_session=" + strings.ToUpper(sid):     false,
		"a=flamego_session=" + sid:                    false,
		"flamego_session=" + sid[:8] + ";" + sid[8:]:  false,
		"flamego_session=%" + sid[1:] + "; " + cookie: true,
	} {
		found := false
		a.once(header, func(s session.Session) string { found = s.Get("key") == 1; return "ok" })
		require.Equal(t, want, found, header)

		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", header)
		theirs := slices.ContainsFunc(r.CookiesNamed("flamego_session"), func(c *http.Cookie) bool { return c.Value == sid })
		require.Equal(t, theirs, found, header)
	}
}
