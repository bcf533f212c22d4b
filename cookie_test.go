package session_test

import (
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
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

// The options hold for every cookie that is sent: the first, that of a new ID,
// the one sent again, and the one that expires.
func TestEveryCookieHasTheOptions(t *testing.T) { synctest.Test(t, testEveryCookieHasTheOptions) }

func testEveryCookieHasTheOptions(t *testing.T) {
	a := newApp(t, session.Options{TouchInterval: -1, Cookie: session.CookieOptions{
		Name: "__Host-s", MaxAge: 60, Secure: true, SameSite: http.SameSiteNoneMode, Partitioned: true,
	}})
	a.Get("/", func(s session.Session) string { return s.ID() })
	a.Get("/set", func(s session.Session) string { s.Set("key", 1); return s.ID() })
	a.Get("/renew", func(s session.Session, w http.ResponseWriter, r *http.Request) string {
		require.NoError(t, s.RegenerateID(w, r))
		return s.ID()
	})
	a.Get("/end", func(s session.Session, w http.ResponseWriter, r *http.Request) {
		require.NoError(t, session.Destroy(w, r, s))
	})
	const rest = "; HttpOnly; Secure; SameSite=None; Partitioned"
	for _, path := range []string{"/", "/set", "/renew", "/"} {
		time.Sleep(time.Second)
		w := a.get(path)
		require.Equal(t, []string{"__Host-s=" + w.Body.String() + "; Path=/; Max-Age=60" + rest}, w.Result().Header["Set-Cookie"])
	}
	require.Equal(t, []string{"__Host-s=; Path=/; Max-Age=0" + rest}, a.get("/end").Result().Header["Set-Cookie"])
}

// With MaxAge the cookie is sent again when the session is used, whatever the request
// does with it, but only now and then.
func TestCookieIsRenewedWithTheSession(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		for maxAge, every := range map[int]time.Duration{6: 100 * time.Millisecond, 60: time.Second, 3600: time.Minute, math.MaxInt32: time.Minute} {
			synctest.Test(t, func(t *testing.T) {
				opts.Cookie.MaxAge, opts.TouchInterval = maxAge, -1
				a := newApp(t, opts)
				a.Get("/read", func() {})
				a.Get("/set", func(s session.Session) { s.Set("key", time.Now().String()) })
				a.Get("/save", func(s session.Session, store session.Store, r *http.Request) error {
					s.Set("key", time.Now().String())
					return store.Save(r.Context(), s)
				})
				a.Get("/flash", func(s session.Session) { s.SetFlash("hello") })
				a.get("/set")
				cookie := a.cookie
				for _, path := range []string{"/read", "/set", "/save", "/flash", "/read"} {
					time.Sleep(every - time.Millisecond)
					require.Empty(t, a.get(path).Header().Values("Set-Cookie"), "%s, too early", path)
					time.Sleep(time.Millisecond)
					require.Len(t, a.get(path).Header().Values("Set-Cookie"), 1, "%s, MaxAge %d", path, maxAge)
					require.Empty(t, a.get(path).Header().Values("Set-Cookie"), "%s, again at once", path)
					require.Equal(t, cookie, a.cookie)
				}
			})
		}
	})
}

// There are never two Set-Cookie of our name, the one that there is tells the
// ID the session ended up with, and cookies of other names are left alone.
func TestNeverTwoCookiesOfOurName(t *testing.T) {
	type visit struct{ first, planted bool }
	set := func(c flamego.Context, s session.Session) { s.Set("key", 1) }
	renew := func(c flamego.Context, s session.Session) {
		if err := s.RegenerateID(c.ResponseWriter(), c.Request().Request); err != nil {
			panic(err)
		}
	}
	destroy := func(c flamego.Context, s session.Session) {
		if err := session.Destroy(c.ResponseWriter(), c.Request().Request, s); err != nil {
			panic(err)
		}
	}
	destroyed := func(c flamego.Context, s session.Session) {
		if err := s.RegenerateID(c.ResponseWriter(), c.Request().Request); err == nil {
			panic("a session that was destroyed has a new ID")
		}
	}
	begin := func(c flamego.Context, _ session.Session) { write(c.ResponseWriter(), "begun") }
	flash := func(c flamego.Context, s session.Session) { s.SetFlash("hello") }

	const plantedSID = "plantedplantedpl"
	type step = func(flamego.Context, session.Session)
	first, planted := visit{first: true}, visit{planted: true}
	for name, tt := range map[string]struct {
		visit
		steps   []step
		none    bool // no cookie at all
		expired bool
	}{
		"first request":                           {first, nil, false, false},
		"first request, set":                      {first, []step{set}, false, false},
		"first request, renewed":                  {first, []step{renew}, false, false},
		"first request, set and renewed":          {first, []step{set, renew}, false, false},
		"first request, renewed twice":            {first, []step{renew, set, renew}, false, false},
		"first request, destroyed":                {first, []step{set, destroy}, false, true},
		"first request, renewed, destroyed":       {first, []step{set, renew, destroy}, false, true},
		"renewed":                                 {visit{}, []step{renew}, false, false},
		"renewed twice":                           {visit{}, []step{renew, renew}, false, false},
		"renewed and destroyed":                   {visit{}, []step{renew, destroy}, false, true},
		"destroyed, not renewed":                  {visit{}, []step{destroy, destroyed}, false, true},
		"destroyed twice":                         {visit{}, []step{destroy, set, destroy}, false, true},
		"planted":                                 {planted, nil, false, false},
		"planted, set":                            {planted, []step{set}, false, false},
		"planted, renewed":                        {planted, []step{renew}, false, false},
		"planted, set and renewed":                {planted, []step{set, renew}, false, false},
		"planted, renewed and set":                {planted, []step{renew, set}, false, false},
		"planted, set, destroyed":                 {planted, []step{set, destroy}, false, true},
		"read":                                    {visit{}, nil, true, false},
		"set":                                     {visit{}, []step{set}, true, false},
		"flash":                                   {visit{}, []step{flash}, true, false},
		"set in two commits":                      {visit{}, []step{set, begin, set}, true, false},
		"renewed, and set in a second commit":     {visit{}, []step{renew, begin, set}, false, false},
		"first request, set in the second commit": {first, []step{begin, set}, false, false},
	} {
		for _, age := range []int{0, 60} {
			test := func(t *testing.T) {
				opts := backendOptions(mapbackend.New())
				opts.Cookie.MaxAge, opts.TouchInterval = age, -1
				a := newApp(t, opts)
				foreign := func(name string) flamego.Handler {
					return func(c flamego.Context) { c.SetCookie(http.Cookie{Name: name, Value: "1"}) }
				}
				a.Handlers(foreign("a"), foreign("flamego_session2"), a.Handler(), foreign("b"))
				sid := ""
				a.Get("/", func(c flamego.Context, s session.Session) {
					for _, step := range tt.steps {
						step(c, s)
					}
					c.SetCookie(http.Cookie{Name: "flamego_", Value: "1"})
					sid = s.ID()
				})
				a.Get("/set", func(s session.Session) { s.Set("before", 1) })
				switch tt.visit {
				case visit{}:
					a.cookie = ours(a.get("/set").Header())[0]
					a.cookie, _, _ = strings.Cut(a.cookie, ";")
				case planted:
					a.cookie = "flamego_session=" + plantedSID
				}
				time.Sleep(time.Second) // or the cookie is not sent again
				w := a.get("/")
				require.Equal(t, http.StatusOK, w.Code)

				resp := w.Result()
				lines := ours(resp.Header)
				require.NotEqual(t, plantedSID, sid)
				switch {
				case tt.none && age == 0:
					require.Empty(t, lines)
				case tt.expired:
					require.Equal(t, []string{"flamego_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"}, lines)
				case age == 0:
					require.Equal(t, []string{"flamego_session=" + sid + "; Path=/; HttpOnly; SameSite=Lax"}, lines)
				default:
					require.Equal(t, []string{"flamego_session=" + sid + "; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"}, lines)
				}
				var others []string
				for _, c := range resp.Cookies() {
					if c.Name != "flamego_session" {
						others = append(others, c.Name)
					}
				}
				want := []string{"a", "flamego_session2", "b", "flamego_"}
				if resp.Header["Set-Cookie"] != nil && w.Body.Len() > 0 {
					want = want[:3] // the handler was late
				}
				require.ElementsMatch(t, want, others)
				require.Equal(t, []string{"Cookie"}, resp.Header.Values("Vary"))
				if len(lines) > 0 {
					require.Equal(t, []string{"no-store"}, resp.Header.Values("Cache-Control"))
				} else {
					require.Empty(t, resp.Header.Values("Cache-Control"))
				}
			}
			t.Run(fmt.Sprintf("%s, MaxAge %d", name, age), func(t *testing.T) { synctest.Test(t, test) })
		}
	}
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

func TestSeveralCookiesOfOneName(t *testing.T) {
	a := newApp(t, session.Options{})
	a.Get("/", func(s session.Session) string { s.Set("key", 1); return s.ID() })
	sid := a.get("/").Body.String()
	a.cookie = "flamego_session=aaaaaaaaaaaaaaaa; " + a.cookie
	w := a.get("/")
	require.Equal(t, sid, w.Body.String(), "the one that the store knows is used")
	require.Empty(t, w.Header().Values("Set-Cookie"))
}

// Of several cookies of our name the real one is used, and a client that sends
// many does not make us look for all of them.
func TestManyCookiesOfOneName(t *testing.T) {
	var seen []string
	a := newApp(t, backendOptions(noting(&seen)))
	a.Get("/", func(s session.Session) string { s.Set("key", 1); return s.ID() })
	sid := a.get("/").Body.String()
	fake := func(n int) string {
		var sb strings.Builder
		for i := range n {
			fmt.Fprintf(&sb, "flamego_session=%016d; ", i)
		}
		return sb.String()
	}
	for n := range 4 {
		a.cookie, seen = fake(n)+"flamego_session="+sid, nil
		w := a.get("/")
		require.Equal(t, sid, w.Body.String())
		require.Empty(t, w.Header()["Set-Cookie"])
		require.Len(t, seen, n+1)
	}
	a.Get("/read", func() {})
	for _, more := range []string{"", "flamego_session=short; ", "flamego_session=" + strings.Repeat("x", 40) + "; "} {
		a.cookie, seen = strings.Repeat(more, 100)+fake(1000), nil
		a.get("/read")
		require.Len(t, seen, 4)
	}
	a.cookie = fake(1000)
	a.get("/")
	require.NotContains(t, seen, sidOf(a.cookie), "none of the IDs that the client made up is used")
}

// Cookies of our name that cannot be ours keep nobody from the one that is.
func TestManyForeignCookies(t *testing.T) {
	a := newApp(t, session.Options{})
	cookie := a.visit(func(s session.Session) { s.Set("key", 1) })
	junk := strings.Repeat("flamego_session=junk; ", 20)
	w := a.once(junk+cookie, func(s session.Session) string { require.Equal(t, 1, s.Get("key")); return "ok" })
	require.Equal(t, http.StatusOK, w.Code)
}

// What would not reach the browser as it is does not keep the app from starting, as with
// net/http, and is told to ErrorFunc.
func TestCookieOptionsThatAreCorrected(t *testing.T) {
	for _, tt := range []struct {
		opts session.CookieOptions
		want string
		told string
	}{
		{session.CookieOptions{MaxAge: 401 * 24 * 3600}, "; Path=/; Max-Age=34560000; HttpOnly; SameSite=Lax", ""},
		{session.CookieOptions{Domain: "example.com:8080"}, "; Path=/; HttpOnly; SameSite=Lax", `Domain "example.com:8080"`},
		{session.CookieOptions{Domain: "a b"}, "; Path=/; HttpOnly; SameSite=Lax", `Domain "a b"`},
		{session.CookieOptions{SameSite: 7}, "; Path=/; HttpOnly", "SameSite is 7"},
		{session.CookieOptions{SameSite: -1}, "; Path=/; HttpOnly", "SameSite is -1"},
		{session.CookieOptions{SameSite: http.SameSiteDefaultMode}, "; Path=/; HttpOnly", ""},
		{session.CookieOptions{Path: "app"}, "; Path=app; HttpOnly; SameSite=Lax", `Path "app"`},
	} {
		a := newApp(t, session.Options{Cookie: tt.opts})
		errs := a.TakeErrors()
		require.Equal(t, tt.told != "", len(errs) == 1, "%v", errs)
		if tt.told != "" {
			require.ErrorContains(t, errs[0], tt.told)
		}
		w := a.once("", func(s session.Session) string { s.Set("key", 1); return s.ID() })
		require.Equal(t, "flamego_session="+w.Body.String()+tt.want, w.Header().Get("Set-Cookie"))
		log.SetOutput(io.Discard) // net/http logs what it drops
		theirs := &http.Cookie{
			Name: "flamego_session", Value: w.Body.String(), Path: "/", HttpOnly: true, SameSite: tt.opts.SameSite,
			Domain: tt.opts.Domain, MaxAge: min(tt.opts.MaxAge, 400*24*3600),
		}
		if tt.opts.Path != "" {
			theirs.Path = tt.opts.Path
		}
		if theirs.SameSite == 0 {
			theirs.SameSite = http.SameSiteLaxMode
		}
		line := theirs.String()
		log.SetOutput(os.Stderr)
		require.Equal(t, line, w.Header().Get("Set-Cookie"))
	}
}

// A prefix is one in any case, as it is for browsers.
func TestCookiePrefixes(t *testing.T) {
	for _, name := range []string{"__Host-s", "__HOST-s", "__secure-s", "__Http-s", "__host-HTTP-s"} {
		require.Error(t, session.CookieOptionsError(session.CookieOptions{Name: name}), name)
		require.NoError(t, session.CookieOptionsError(session.CookieOptions{Name: name, Secure: true}), name)
		script := session.CookieOptionsError(session.CookieOptions{Name: name, Secure: true, AllowScript: true})
		require.Equal(t, strings.Contains(strings.ToLower(name), "http-"), script != nil, name)
		path := session.CookieOptionsError(session.CookieOptions{Name: name, Secure: true, Path: "/a"})
		require.Equal(t, strings.HasPrefix(strings.ToLower(name), "__host-"), path != nil, name)
	}
}
