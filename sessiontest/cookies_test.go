package sessiontest_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/sessiontest"
)

// echo is an app of its own, which sets cookies and shows those that it is sent.
func echo(lines ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, line := range lines {
			w.Header().Add("Set-Cookie", line)
		}
		for _, line := range r.Header["Cookie"] {
			_, _ = w.Write([]byte(line))
		}
	})
}

func names(cookies []*http.Cookie) (names []string) {
	for _, c := range cookies {
		names = append(names, c.Name)
	}
	return names
}

// Whatever the cookie of the session looks like, the visitor has it.
func TestCookieOptions(t *testing.T) {
	for name, cookie := range map[string]session.CookieOptions{
		"default": {},
		"secure":  {Secure: true, SameSite: http.SameSiteStrictMode},
		"host":    {Name: "__Host-session", Secure: true},
		"domain":  {Domain: "shop.example"},
		"none":    {SameSite: http.SameSiteNoneMode, Secure: true, Partitioned: true},
		"stored":  {WhenStored: true, MaxAge: 60},
		"path":    {Path: "/visit"},
	} {
		t.Run(name, func(t *testing.T) {
			app, m := newApp(t, session.Options{Cookie: cookie})
			v := sessiontest.New(t, m, session.Data{"user_id": 1})
			get(v, app, "/visit")
			get(v, app, "/visit")
			require.Equal(t, 2, v.Get("visits"))
			require.Equal(t, 1, v.Get("user_id"))
			v.Change(func(s session.Session) { s.Set("user_id", 2) })
			require.Equal(t, 2, v.Get("user_id"))
			require.Len(t, v.Cookies(), 1)

			c := v.Cookies()[0]
			require.Equal(t, cookie.Secure, c.Secure)
			require.Equal(t, cookie.Domain, c.Domain)
			require.Equal(t, cookie.MaxAge, c.MaxAge)
			c.Value = "changed"
			require.Equal(t, v.ID(), v.Cookies()[0].Value, "these are copies")
		})
	}
}

func TestWhenStored(t *testing.T) {
	app, m := newApp(t, session.Options{Cookie: session.CookieOptions{WhenStored: true}})
	v := sessiontest.New(t, m, nil)
	get(v, app, "/")
	require.Empty(t, v.Cookies())
	get(v, app, "/visit")
	require.Len(t, v.Cookies(), 1)
	require.Equal(t, 1, v.Get("visits"))
}

func TestCookiesOfTheApp(t *testing.T) {
	app, m := newApp(t, session.Options{})
	v := sessiontest.New(t, m, session.Data{"user_id": 1})
	get(v, echo("lang=de", `quoted="ab"; Path=/`), "/")
	require.Equal(t, []string{"flamego_session", "lang", "quoted"}, names(v.Cookies()))
	require.Equal(t, "flamego_session="+v.ID()+`; lang=de; quoted="ab"`, get(v, echo(), "/"))
	post(v, app, "/logout")
	require.Equal(t, []string{"lang", "quoted"}, names(v.Cookies()))

	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: "lang", Value: "fr"})
	require.Equal(t, `lang=fr; quoted="ab"`, v.Do(echo(), r).Body.String())
	require.Equal(t, `lang=de; quoted="ab"`, get(v, echo(), "/"))
}

// A session cookie of the request itself is the one that counts.
func TestCookieOfTheRequest(t *testing.T) {
	app, m := newApp(t, session.Options{})
	v, other := sessiontest.New(t, m, session.Data{"user_id": 1}), sessiontest.New(t, m, session.Data{"user_id": 2})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(other.Cookies()[0])
	require.Equal(t, "2", v.Do(app, r).Body.String())
	require.Equal(t, "1", get(v, app, "/"))
}

func TestCookiePaths(t *testing.T) {
	_, m := newApp(t, session.Options{})
	v := sessiontest.New(t, m, nil)
	get(v, echo("root=1; Path=/", "shop=1; Path=/shop", "slash=1; Path=/slash/", "given=1", "relative=1; Path=x"), "/a/b")
	get(v, echo("top=1"), "/top")
	for path, want := range map[string]string{
		"/":        "root=1; top=1",
		"/shop":    "shop=1; root=1; top=1",
		"/shop/1":  "shop=1; root=1; top=1",
		"/shops":   "root=1; top=1",
		"/slash":   "root=1; top=1",
		"/slash/1": "slash=1; root=1; top=1",
		"/a":       "given=1; relative=1; root=1; top=1",
		"/a/c/d":   "given=1; relative=1; root=1; top=1",
	} {
		require.Equal(t, want, get(v, echo(), path), path)
	}

	// One name with two paths is two cookies.
	get(v, echo("root=2; Path=/shop", "shop=; Path=/shop; Max-Age=0"), "/")
	require.Equal(t, "root=2; root=1; top=1", get(v, echo(), "/shop"))
}

func TestCookieExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, m := newApp(t, session.Options{})
		v := sessiontest.New(t, m, nil)
		in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
		get(v, echo("age=1; Max-Age=60", "date=1; Expires="+in(2*time.Minute), "both=1; Max-Age=60; Expires="+in(time.Hour), "end=1"), "/")
		require.Equal(t, []string{"age", "date", "both", "end"}, names(v.Cookies()))
		time.Sleep(time.Minute - 1)
		require.Len(t, v.Cookies(), 4)
		time.Sleep(1)
		require.Equal(t, []string{"date", "end"}, names(v.Cookies()))
		require.Equal(t, "date=1; end=1", get(v, echo(), "/"))
		time.Sleep(time.Minute)
		require.Equal(t, []string{"end"}, names(v.Cookies()))
		get(v, echo("end=; Expires="+in(-time.Hour)), "/")
		require.Empty(t, v.Cookies())
	})
}
