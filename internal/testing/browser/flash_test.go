package browser

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// A flash shows once, after the redirect.
func TestFlash(t *testing.T) {
	onEachStore(t, func(t *testing.T, app *site) {
		b := newProfile(t)
		b.signUp(app.url, name(t), false)
		welcome := "Welcome, " + name(t)
		assert.Contains(t, b.text(), welcome)
		assert.Equal(t, welcome+". Your account is made.", eval[string](b, `document.querySelector("[role=status]").innerText`))
		b.leave(chromedp.Reload())
		assert.NotContains(t, b.text(), welcome)

		b.click("header button")
		assert.Contains(t, b.text(), "You are signed out.")
		b.leave(chromedp.Reload())
		assert.NotContains(t, b.text(), "You are signed out.")
	})
}

// What a browser fetches beside the page does not take the flash.
func TestFlashBesideOtherRequests(t *testing.T) {
	t.Parallel()
	for _, store := range stores {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			b := newProfile(t)
			app := newPlainApp(t, store)
			app.Post("/flash", func(s session.Session) { s.SetFlash("the flash") })
			app.Get("/favicon.ico", func() int { return http.StatusNoContent })
			app.Get("/style.css", func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/css") })
			app.Get("/message", func(w http.ResponseWriter, flash session.Flash) string {
				return html(w, "Message: "+orNone(flash))
			})
			b.goTo(app.url + "/message")
			require.Contains(t, b.text(), "Message: none")
			eval[int](b, `fetch("/flash", {method: "POST"}).then(response => response.status)`)

			// Each of them is over, whether or not the browser likes what it has got.
			eval[bool](b, `new Promise(done => {
				const icon = new Image();
				icon.onload = icon.onerror = () => done(true);
				icon.src = "/favicon.ico?" + Math.random();
			})`)
			link := `new Promise(done => {
				const link = document.createElement("link");
				link.rel = %q;
				link.href = %q;
				link.onload = link.onerror = () => done(true);
				document.head.append(link);
			})`
			eval[bool](b, fmt.Sprintf(link, "stylesheet", "/style.css"))
			eval[bool](b, fmt.Sprintf(link, "prefetch", "/message"))
			require.True(t, app.got("GET /favicon.ico image "), app.requests)
			require.True(t, app.got("GET /style.css style "), app.requests)
			require.True(t, app.got("GET /message empty prefetch"), app.requests)

			b.goTo(app.url + "/message")
			assert.Contains(t, b.text(), "Message: the flash")
			b.leave(chromedp.Reload())
			assert.Contains(t, b.text(), "Message: none")
		})
	}
}

// Of requests that run at once one gets the flash.
func TestFlashOfParallelRequests(t *testing.T) {
	onEachStore(t, func(t *testing.T, app *site) {
		b := newProfile(t)
		b.mayFetch()
		b.signUp(app.url, name(t), false)
		eval[string](b, `fetch("/signout", {method: "POST", redirect: "manual"}).then(response => response.type)`)
		shown := eval[int](b, `Promise.all([...Array(8)].map(() => fetch("/signin").then(response => response.text())))
			.then(pages => pages.filter(page => page.includes("You are signed out.")).length)`)
		assert.Equal(t, 1, shown)
		b.goTo(app.url + "/signin")
		assert.NotContains(t, b.text(), "You are signed out.")
	})
}
