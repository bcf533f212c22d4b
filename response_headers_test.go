package session_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

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
