package session_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

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
		"planted":                                 {planted, nil, true, false},
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
			t.Run(fmt.Sprintf("%s, MaxAge %d", name, age), func(t *testing.T) {
				t.Parallel()
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
				w := a.get("/")
				require.Equal(t, http.StatusOK, w.Code)

				resp := w.Result()
				lines := ours(resp.Header)
				if tt.visit == planted && len(lines) > 0 {
					line, _, _ := strings.Cut(lines[0], ";")
					sid = sidOf(line) // it moves after the handler
					require.NotEqual(t, plantedSID, sid)
				}
				switch {
				case tt.none && (age == 0 || tt.visit == planted):
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
			})
		}
	}
}

// The headers for caches are those of the app, whenever it sets them and however
// it answers; ours are there where it set none.
func TestCacheHeaders(t *testing.T) {
	vary := func(names ...string) func(http.Header) {
		return func(h http.Header) {
			for _, name := range names {
				h.Add("Vary", name)
			}
		}
	}
	for name, tt := range map[string]struct {
		set   func(h http.Header)
		vary  []string
		cache []string // nil: ours
	}{
		"nothing":               {func(http.Header) {}, []string{"Cookie"}, nil},
		"other Vary":            {vary("Accept"), []string{"Accept", "Cookie"}, nil},
		"Vary replaced":         {func(h http.Header) { h.Set("Vary", "Accept-Encoding") }, []string{"Accept-Encoding", "Cookie"}, nil},
		"Vary removed":          {func(h http.Header) { h.Del("Vary") }, []string{"Cookie"}, nil},
		"own Vary":              {vary("Cookie"), []string{"Cookie"}, nil},
		"own Vary, lower case":  {vary("cookie"), []string{"cookie"}, nil},
		"own Vary in a list":    {vary("Accept, Cookie"), []string{"Accept, Cookie"}, nil},
		"own Vary among others": {vary("Accept", "Origin ,cookie"), []string{"Accept", "Origin ,cookie"}, nil},
		"Vary of another name":  {vary("X-Cookie"), []string{"X-Cookie", "Cookie"}, nil},
		"Vary of everything":    {vary("*"), []string{"*"}, nil},
		"Cache-Control": {
			func(h http.Header) { h.Set("Cache-Control", "private") }, []string{"Cookie"}, []string{"private"},
		},
		"Cache-Control added": {
			func(h http.Header) { h.Add("Cache-Control", "private") }, []string{"Cookie"}, []string{"private"},
		},
		"Cache-Control by Before": {nil, []string{"Cookie"}, []string{"private"}},
	} {
		for _, where := range []string{"before", "after", "in the handler"} {
			for _, answer := range []string{"return", "write", "redirect", "nothing"} {
				if tt.set == nil && (where == "before" || answer == "nothing") {
					continue // Flamego has no hook for it
				}
				t.Run(fmt.Sprintf("%s, %s, %s", name, where, answer), func(t *testing.T) {
					set := func(c flamego.Context) {
						if tt.set != nil {
							tt.set(c.ResponseWriter().Header())
							return
						}
						c.ResponseWriter().Before(func(w flamego.ResponseWriter) { w.Header().Add("Cache-Control", "private") })
					}
					at := func(here string) flamego.Handler {
						return func(c flamego.Context) {
							if where == here {
								set(c)
							}
						}
					}
					a := newApp(t, session.Options{})
					a.Handlers(at("before"), a.Handler(), at("after"))
					a.Get("/", at("in the handler"), func(c flamego.Context, s session.Session) error {
						s.Set("key", 1)
						switch answer {
						case "return":
							return fmt.Errorf("text")
						case "write":
							write(c.ResponseWriter(), "ok")
						case "redirect":
							c.Redirect("/")
						}
						return nil
					})
					h := a.get("/").Result().Header
					require.Len(t, ours(h), 1)
					require.Equal(t, tt.vary, h.Values("Vary"))
					want := tt.cache
					if want == nil {
						want = []string{"no-store"}
					}
					require.Equal(t, want, h.Values("Cache-Control"))

					h = a.get("/").Result().Header // sets no cookie
					require.Empty(t, ours(h))
					require.Equal(t, tt.vary, h.Values("Vary"))
					require.Equal(t, tt.cache, h["Cache-Control"])
				})
			}
		}
	}
}

// What we cannot serve is not to be taken for something else by a cache.
func TestVaryWithoutSession(t *testing.T) {
	a, o := newOutageApp(t, session.Options{})
	a.Get("/", func(s session.Session) { s.Set("key", 1) })
	a.get("/")
	o.on.Store(true)
	h := a.get("/").Result().Header
	require.Equal(t, []string{"Cookie"}, h.Values("Vary"))
	require.Empty(t, h.Values("Set-Cookie"))
}

// With functions of its own for the ID an app says everything itself, also when
// the ID changes.
func TestCustomIDFuncsAddNoHeader(t *testing.T) {
	var sent []string
	custom := session.Options{
		ReadIDFunc: func(r *http.Request) string { return r.Header.Get("Session-Id") },
		WriteIDFunc: func(_ http.ResponseWriter, _ *http.Request, sid string, created bool) {
			if created {
				sent = append(sent, sid)
			}
		},
		Cookie: session.CookieOptions{MaxAge: 60}, TouchInterval: -1,
	}
	for name, tt := range map[string]struct {
		opts         session.Options
		vary, cookie bool
	}{
		"both":  {custom, false, false},
		"read":  {session.Options{ReadIDFunc: custom.ReadIDFunc}, false, true},
		"write": {session.Options{WriteIDFunc: custom.WriteIDFunc}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, tt.opts)
			a.Get("/", func(s session.Session, w http.ResponseWriter, r *http.Request) {
				s.Set("key", 1)
				require.NoError(t, s.RegenerateID(w, r))
			})
			a.Get("/end", func(s session.Session, w http.ResponseWriter, r *http.Request) {
				require.NoError(t, session.Destroy(w, r, s))
			})
			for _, path := range []string{"/", "/", "/end"} {
				r := httptest.NewRequest(http.MethodGet, path, nil)
				if len(sent) > 0 {
					r.Header.Set("Session-Id", sent[len(sent)-1])
				}
				w := httptest.NewRecorder()
				a.ServeHTTP(w, r)
				require.Equal(t, http.StatusOK, w.Code)
				require.Equal(t, tt.vary, w.Header().Get("Vary") != "")
				require.Equal(t, tt.cookie, len(ours(w.Header())) == 1)
				require.Equal(t, tt.cookie, w.Header().Get("Cache-Control") != "")
			}
		})
	}
}

// The options hold for every cookie that is sent: the first, that of a new ID,
// the one sent again, and the one that expires.
func TestEveryCookieHasTheOptions(t *testing.T) {
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
		w := a.get(path)
		require.Equal(t, []string{"__Host-s=" + w.Body.String() + "; Path=/; Max-Age=60" + rest}, w.Result().Header["Set-Cookie"])
	}
	require.Equal(t, []string{"__Host-s=; Path=/; Max-Age=0" + rest}, a.get("/end").Result().Header["Set-Cookie"])
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
	a.cookie, seen = fake(1000), nil
	a.Get("/read", func() {})
	a.get("/read")
	require.Len(t, seen, 4)
	a.get("/")
	require.NotContains(t, seen, sidOf(a.cookie), "none of the IDs that the client made up is used")
}
