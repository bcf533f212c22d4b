package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// otherSite returns the address of a page, on another site, with a form that posts to an address.
func otherSite(t *testing.T, action string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<!DOCTYPE html><title>Win</title><form method="post" action="%s">
<input name="name" value="mallory"><input name="password" value="%s"><button>Win</button></form>`, action, password)
	}))
	t.Cleanup(server.Close)
	return origin(t, server.URL, "other.localhost")
}

// A form of another site is refused. It neither has nor replaces the session: not by a sign-out, a
// sign-in to another account, or the end of the other devices.
func TestCrossSite(t *testing.T) {
	onEachStore(t, func(t *testing.T, app *site) {
		b, phone := newProfile(t), newProfile(t)
		b.signUp(app.url, name(t), false)
		phone.signIn(app.url, name(t))
		sid := b.sid()
		for _, path := range []string{"/signout", "/signin", "/signup", "/devices/end-others"} {
			b.goTo(otherSite(t, app.url+path))
			assert.Equal(t, http.StatusForbidden, b.click("button"), path)
			assert.Contains(t, b.text(), "This form came from another site", path)
			assert.Equal(t, sid, b.sid(), path)
		}
		b.goTo(app.url + "/")
		assert.Contains(t, b.text(), "Hello, "+name(t))
		phone.goTo(app.url + "/")
		assert.Contains(t, phone.text(), "Hello, "+name(t))
	})
}

// Without such a protection in the app, the browser holds the cookie back, and the library sends
// none that would replace it.
func TestCrossSiteWithoutProtection(t *testing.T) {
	t.Parallel()
	for _, store := range stores {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			b := newProfile(t)
			app := newPlainApp(t, store)
			app.Get("/in", func(w http.ResponseWriter, s session.Session) string {
				s.Set("user", "alice")
				return html(w, "Welcome")
			})
			who := func(w http.ResponseWriter, s session.Session) string {
				return html(w, "User: "+orNone(s.Get("user")))
			}
			app.Get("/who", who)
			app.Post("/who", who)
			app.Post("/out", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
				return session.Destroy(w, r, s)
			})
			b.goTo(app.url + "/in")
			b.goTo(app.url + "/who")
			require.Contains(t, b.text(), "User: alice")
			sid := b.sid()
			require.NotEmpty(t, sid)

			b.goTo(otherSite(t, app.url+"/who"))
			assert.Equal(t, http.StatusOK, b.click("button"))
			assert.Contains(t, b.text(), "User: none")
			assert.Equal(t, sid, b.sid())
			b.goTo(otherSite(t, app.url+"/out"))
			assert.Equal(t, http.StatusOK, b.click("button"))
			assert.Equal(t, sid, b.sid())
			b.goTo(app.url + "/who")
			assert.Contains(t, b.text(), "User: alice")
		})
	}
}
