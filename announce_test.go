package session_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// A request whose cookie the browser has held back must not replace that cookie, unless it
// has stored something.
func TestCookieThatWasHeldBack(t *testing.T) {
	lax, strict, none := http.SameSiteLaxMode, http.SameSiteStrictMode, http.SameSiteNoneMode
	for _, tt := range []struct {
		sameSite http.SameSite
		method   string
		fields   string
		heldBack bool
	}{
		{lax, "POST", "cross-site navigate document", true},
		{lax, "PUT", "cross-site cors empty", true},
		{lax, "GET", "cross-site navigate document", false},
		{lax, "HEAD", "cross-site navigate document", false},
		{lax, "GET", "cross-site navigate", false},
		{lax, "GET", "cross-site navigate iframe", true},
		{lax, "GET", "cross-site navigate object", true},
		{lax, "GET", "cross-site no-cors image", true},
		{lax, "GET", "cross-site cors empty", true},
		{lax, "GET", "cross-site", true},
		{lax, "POST", "same-site navigate document", false},
		{lax, "POST", "same-origin navigate document", false},
		{lax, "POST", "none navigate document", false},
		{lax, "POST", "", false},
		{http.SameSiteDefaultMode, "POST", "cross-site navigate document", true},
		{0, "POST", "cross-site navigate document", true},
		{strict, "GET", "cross-site navigate document", true},
		{strict, "POST", "cross-site navigate document", true},
		{strict, "GET", "same-site navigate document", false},
		{strict, "GET", "", false},
		{none, "POST", "cross-site navigate document", false},
		{none, "GET", "cross-site no-cors image", false},
	} {
		t.Run(fmt.Sprintf("%d %s %s", tt.sameSite, tt.method, tt.fields), func(t *testing.T) {
			onEach(t, func(t *testing.T, opts session.Options) {
				opts.Cookie.SameSite, opts.Cookie.Secure = tt.sameSite, true
				a := newApp(t, opts)
				var fields []string
				for i, value := range strings.Fields(tt.fields) {
					fields = append(fields, []string{"Sec-Fetch-Site: ", "Sec-Fetch-Mode: ", "Sec-Fetch-Dest: "}[i]+value)
				}
				read := func(s session.Session) string { _ = s.Get("key"); return "ok" }
				renew := func(s session.Session, w http.ResponseWriter, r *http.Request) error { return s.RegenerateID(w, r) }
				for _, h := range []flamego.Handler{read, renew} {
					w := a.with(tt.method, fields, h)
					require.Equal(t, tt.heldBack, len(ours(w.Header())) == 0)
					require.Equal(t, tt.heldBack, w.Header().Get("Cache-Control") == "")
				}

				sid := ""
				w := a.with(tt.method, fields, func(s session.Session) string { s.Set("key", 1); sid = s.ID(); return "ok" })
				require.Len(t, ours(w.Header()), 1)
				require.Equal(t, 1, get(t, a.Store(), sid, "key"))

				cookie := "Cookie: flamego_session=" + sid // this one was not held back
				w = a.with(tt.method, append(fields, cookie), renew)
				require.Len(t, ours(w.Header()), 1)
			})
		})
	}
}

// No response has both our cookie and leave for shared caches to keep it. A cookie with
// nothing behind it gives way; otherwise the leave does.
func TestSharedCaches(t *testing.T) {
	later, before := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), "Thu, 01 Jan 1970 00:00:00 GMT"
	for _, tt := range []struct {
		fields  []string // of the app
		shared  bool
		private []string // what is made of them where the cookie must be sent
	}{
		{[]string{"Cache-Control: public, max-age=600, s-maxage=900"}, true, []string{"Cache-Control: max-age=600, private"}},
		{[]string{"Cache-Control: public", "Cache-Control: max-age=600"}, true, []string{"Cache-Control: max-age=600, private"}},
		{[]string{"Cache-Control: PUBLIC , Immutable"}, true, []string{"Cache-Control: Immutable, private"}},
		{[]string{"Cache-Control: s-maxage=1"}, true, []string{"Cache-Control: private"}},
		{[]string{"Cache-Control: max-age=600"}, true, []string{"Cache-Control: max-age=600, private"}},
		{[]string{`Cache-Control: max-age="600", x="a, public"`}, true, []string{`Cache-Control: max-age="600", x="a, public", private`}},
		{[]string{`Cache-Control: max-age=600, private="X-User"`}, true, []string{`Cache-Control: max-age=600, private="X-User", private`}},
		{[]string{"Expires: " + later}, true, []string{"Cache-Control: no-store", "Expires: " + later}},
		{[]string{"CDN-Cache-Control: max-age=60"}, true, []string{"Cache-Control: no-store"}},
		{[]string{"Cache-Control: no-store", "Cloudflare-Cdn-Cache-Control: max-age=60"}, true, []string{"Cache-Control: no-store"}},
		{[]string{"Surrogate-Control: max-age=60"}, true, []string{"Cache-Control: no-store"}},
		{[]string{"X-Accel-Expires: 60"}, true, []string{"Cache-Control: no-store"}},
		{[]string{"Cache-Control: private, max-age=600"}, false, []string{"Cache-Control: private, max-age=600"}},
		{[]string{"Cache-Control: no-store", "Expires: " + later}, false, []string{"Cache-Control: no-store", "Expires: " + later}},
		{[]string{"Cache-Control: no-cache"}, false, []string{"Cache-Control: no-cache, private"}},
		{[]string{"Cache-Control: max-age=0, must-revalidate"}, false, []string{"Cache-Control: max-age=0, must-revalidate, private"}},
		{[]string{"Cache-Control: private, s-maxage=60"}, false, []string{"Cache-Control: private"}},
		{[]string{"Expires: 0"}, false, []string{"Cache-Control: no-store", "Expires: 0"}},
		{[]string{"Expires: " + before}, false, []string{"Cache-Control: no-store", "Expires: " + before}},
		{[]string{"CDN-Cache-Control: no-store"}, false, []string{"Cache-Control: no-store", "CDN-Cache-Control: no-store"}},
		{[]string{"X-Accel-Expires: 0"}, false, []string{"Cache-Control: no-store", "X-Accel-Expires: 0"}},
		{[]string{`Surrogate-Control: content="ESI/1.0"`}, false, []string{"Cache-Control: no-store", `Surrogate-Control: content="ESI/1.0"`}},
		{[]string{"Cache-Control: max-age=0", "Expires: " + later}, false, []string{"Cache-Control: max-age=0, private", "Expires: " + later}},
		{[]string{"Cache-Control: max-age=99999999999999999999999"}, true, []string{"Cache-Control: max-age=99999999999999999999999, private"}},
		{[]string{`Cache-Control: max-age=600, x="\", private, y"`}, true, []string{"Cache-Control: no-store"}},
		{[]string{`Cache-Control: x="a`, "Cache-Control: private"}, true, []string{"Cache-Control: no-store"}},
		{[]string{`CDN-Cache-Control: x="a, private`}, true, []string{"Cache-Control: no-store"}},
		{[]string{"Cache-Control: max-age=600, private=, no-store=1"}, true, []string{"Cache-Control: max-age=600, private=, no-store=1, private"}},
		{[]string{"Cache-Control: max-age=600, \vprivate"}, true, []string{"Cache-Control: max-age=600, \vprivate, private"}},
		{nil, false, []string{"Cache-Control: no-store"}},
	} {
		t.Run(strings.Join(tt.fields, " "), func(t *testing.T) {
			onEach(t, func(t *testing.T, opts session.Options) {
				a := newApp(t, opts)
				answer := func(change func(session.Session, http.ResponseWriter, *http.Request)) flamego.Handler {
					return func(s session.Session, w http.ResponseWriter, r *http.Request) string {
						change(s, w, r)
						for _, field := range tt.fields {
							name, value, _ := strings.Cut(field, ": ")
							w.Header().Add(name, value)
						}
						return "ok"
					}
				}
				nothing := func(session.Session, http.ResponseWriter, *http.Request) {}
				set := func(s session.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("key", 1) }
				renew := func(s session.Session, w http.ResponseWriter, r *http.Request) {
					require.NoError(t, s.RegenerateID(w, r))
				}
				end := func(s session.Session, w http.ResponseWriter, r *http.Request) {
					require.NoError(t, session.Destroy(w, r, s))
				}
				check := func(h http.Header, cookie bool, want []string) {
					t.Helper()
					require.Equal(t, cookie, len(ours(h)) == 1)
					var got []string
					for _, name := range []string{"Cache-Control", "CDN-Cache-Control", "Cloudflare-Cdn-Cache-Control", "Surrogate-Control", "X-Accel-Expires", "Expires"} {
						for _, value := range h.Values(name) {
							got = append(got, name+": "+value)
						}
					}
					require.Equal(t, want, got)
				}
				untouched := append([]string(nil), tt.fields...)
				if want := tt.private; tt.shared {
					check(a.with("GET", nil, answer(nothing)).Header(), false, untouched)
				} else {
					check(a.with("GET", nil, answer(nothing)).Header(), true, want)
				}
				cookie := "Cookie: " + a.visit(func(s session.Session) { s.Set("old", 1) })
				check(a.with("GET", []string{cookie}, answer(nothing)).Header(), false, untouched)
				check(a.with("GET", []string{cookie}, answer(set)).Header(), false, untouched)
				check(a.with("GET", nil, answer(set)).Header(), true, tt.private)
				w := a.with("GET", []string{cookie}, answer(renew))
				check(w.Header(), true, tt.private)
				renewed, _, _ := strings.Cut(ours(w.Header())[0], ";")
				check(a.with("GET", []string{"Cookie: " + renewed}, answer(end)).Header(), true, tt.private)
			})
		})
	}
}

// What a file server that comes after the sessions lets caches keep has no cookie.
func TestSharedStaticFiles(t *testing.T) {
	a := newApp(t, session.Options{})
	a.Use(flamego.Static(flamego.StaticOptions{Directory: "testdata", CacheControl: func() string { return "public, max-age=600" }}))
	w := a.get("/static.txt")
	require.Equal(t, http.StatusOK, w.Code)
	require.Empty(t, ours(w.Result().Header))
	require.Equal(t, "public, max-age=600", w.Result().Header.Get("Cache-Control"))
	require.Equal(t, "Cookie", w.Result().Header.Get("Vary"))
}

// An app may write the names of headers in any case.
func TestSharedCachesRawNames(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		for name, value := range map[string]string{
			"cache-control": "public, max-age=60", "cdn-cache-control": "max-age=60", "SURROGATE-CONTROL": "max-age=60", "x-accel-expires": "60",
			"expires": time.Now().Add(time.Hour).UTC().Format(http.TimeFormat),
		} {
			for _, sets := range []bool{false, true} {
				w := a.once("", func(s session.Session, w http.ResponseWriter) string {
					if sets {
						s.Set("key", 1)
					}
					w.Header()[name] = []string{value}
					return "ok"
				})
				require.Equal(t, sets, len(ours(w.Header())) == 1, name)
				switch {
				case !sets:
					require.Equal(t, []string{value}, w.Header()[name])
				case name == "cache-control":
					require.Empty(t, w.Header()[name])
					require.Equal(t, "max-age=60, private", w.Header().Get("Cache-Control"))
				default:
					require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
					require.Equal(t, name == "expires", w.Header()[name] != nil)
				}
			}
		}
	})
}

// Another site cannot log a visitor out by a form that is sent to the logout: the session
// was not sent along, so there is nothing to end.
func TestLogoutWithACookieThatWasHeldBack(t *testing.T) {
	onEach(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		logout := func(s session.Session, w http.ResponseWriter, r *http.Request) string {
			require.NoError(t, session.Destroy(w, r, s))
			return "bye"
		}
		w := a.with(http.MethodPost, []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"}, logout)
		require.Empty(t, ours(w.Header()))
		cookie := "Cookie: " + a.visit(func(s session.Session) { s.Set("user", 1) })
		w = a.with(http.MethodPost, []string{cookie}, logout)
		require.Equal(t, []string{"flamego_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"}, ours(w.Header()))
	})
}

// A visitor who only reads keeps the cookie, however short its life is beside that of the
// session.
func TestShortMaxAge(t *testing.T) {
	onEach(t, func(t *testing.T, opts session.Options) {
		synctest.Test(t, func(t *testing.T) {
			opts.Cookie.MaxAge = 30
			a := newApp(t, opts)
			a.Get("/", func() {})
			a.Get("/set", func(s session.Session) { s.Set("key", 1) })
			a.get("/set")
			sent := time.Now()
			for range 100 {
				time.Sleep(time.Second)
				if len(ours(a.get("/").Result().Header)) > 0 {
					sent = time.Now()
				}
				require.Less(t, time.Since(sent), 2*time.Second)
			}
		})
	})
}
