package browser

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
)

// cdn returns the address of an app behind a cache that all its visitors share.
func cdn(t *testing.T, port string) string {
	t.Helper()
	return origin(t, testserver.Nginx(t), "app-"+port+".localhost")
}

// fetched is a response as a script of the page sees it.
type fetched struct {
	Cache string // HIT, MISS, ...
	Text  string
}

func (b *tab) fetch(path string) fetched {
	b.Helper()
	return eval[fetched](b, `fetch("`+path+`", {cache: "no-store"}).then(async response =>
		({Cache: response.headers.get("X-Cache"), Text: await response.text()}))`)
}

// Behind a CDN each visitor has the own pages, and all have the same files.
func TestCDN(t *testing.T) {
	onEachStore(t, func(t *testing.T, app *site) {
		address := cdn(t, app.port)
		alice, bob, nobody := newProfile(t), newProfile(t), newProfile(t)
		visitors := map[string]*tab{"Alice": alice, "Bob": bob}
		for first, b := range visitors {
			b.mayFetch()
			b.signUp(address, first+"-"+name(t), false)
		}
		require.NotEqual(t, alice.sid(), bob.sid())
		for _, path := range []string{"/", "/session", "/devices"} {
			for first, b := range visitors {
				b.goTo(address + path)
				other := map[string]string{"Alice": "Bob", "Bob": "Alice"}[first]
				html := eval[string](b, `document.documentElement.outerHTML`)
				assert.NotContains(t, html, other+"-"+name(t), path)
				assert.Contains(t, html, "Sign out", path)
				assert.NotEqual(t, "HIT", b.fetch(path).Cache, path)
			}
			nobody.goTo(address + path)
			assert.Equal(t, "/signin", nobody.path())
		}
		alice.goTo(address + "/")
		assert.Contains(t, alice.text(), "Hello, Alice")
		bob.goTo(address + "/")
		assert.Contains(t, bob.text(), "Hello, Bob")
		assert.NotEqual(t, alice.sid(), bob.sid())

		alice.fetch("/static/style.css")
		assert.Equal(t, "HIT", bob.fetch("/static/style.css").Cache, "a cache that keeps nothing proves nothing")
	})
}

// A page that the app calls public is one for all if nobody's session is in it. Where the response
// has the cookie of a visitor, no cache keeps it, whatever the app has called it.
func TestPublicPages(t *testing.T) {
	t.Parallel()
	for _, store := range stores {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			alice, bob := newProfile(t), newProfile(t)
			app := newPlainApp(t, store)
			app.Get("/public", func(w http.ResponseWriter) string {
				page := html(w, "For all")
				w.Header().Set("Cache-Control", "public, max-age=60")
				return page
			})
			app.Get("/basket", func(w http.ResponseWriter, s session.Session) string {
				s.Set("basket", 1)
				page := html(w, "For one: "+session.Handle(s))
				w.Header().Set("Cache-Control", "public, max-age=60")
				return page
			})
			address := cdn(t, portOf(t, app.url))
			for _, b := range []*tab{alice, bob} {
				b.goTo(address + "/public")
				assert.Contains(t, b.text(), "For all")
				assert.Empty(t, b.sid(), "no cookie is in the cache")
			}
			assert.Equal(t, "HIT", bob.fetch("/public").Cache)

			alice.goTo(address + "/basket")
			bob.goTo(address + "/basket")
			assert.NotEmpty(t, alice.sid())
			assert.NotEmpty(t, bob.sid())
			assert.NotEqual(t, alice.sid(), bob.sid())
			assert.NotEqual(t, alice.text(), bob.text())
			assert.Equal(t, "HIT", bob.fetch("/public").Cache, "a visitor who has a cookie")
		})
	}
}
