package browser

import (
	"net/http"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/testing/testserver"
)

// No script of a page can read the cookie.
func TestCookieIsHidden(t *testing.T) {
	onEachStore(t, func(t *testing.T, app *site) {
		b := newProfile(t)
		b.signUp(app.url, name(t), false)
		cookies := b.cookies()
		require.Len(t, cookies, 1)
		assert.True(t, cookies[0].HTTPOnly)
		assert.Equal(t, network.CookieSameSiteLax, cookies[0].SameSite)
		assert.Empty(t, eval[string](b, `document.cookie`))
		assert.Zero(t, eval[int](b, `cookieStore.getAll().then(all => all.length)`))
		assert.NotContains(t, eval[string](b, `document.documentElement.outerHTML`), cookies[0].Value)

		// A script cannot replace it either.
		eval[string](b, `document.cookie = "flamego_session=0123456789abcdef; path=/"`)
		assert.Equal(t, cookies[0].Value, b.sid())
	})
}

func TestReload(t *testing.T) {
	onEachStore(t, func(t *testing.T, app *site) {
		b := newProfile(t)
		b.signUp(app.url, name(t), false)
		sid := b.sid()
		assert.Contains(t, b.text(), "1 visit of this page")
		for _, want := range []string{"2 visits", "3 visits"} {
			b.leave(chromedp.Reload())
			assert.Contains(t, b.text(), want)
		}
		assert.Equal(t, sid, b.sid())
	})
}

// After a restart of the browser, only remembered users are signed in. A profile is in a folder, and
// each app has names of its own in it, as cookies do not know ports.
func TestRestart(t *testing.T) {
	t.Parallel()
	program := testserver.Chromium(t)
	remembered := func(app *site) string { return "http://remembered-" + app.store + ".localhost:" + app.port }
	plain := func(app *site) string { return "http://plain-" + app.store + ".localhost:" + app.port }

	dir := t.TempDir()
	ctx, err := start(program, dir)
	require.NoError(t, err)
	b := open(t, ctx)
	for _, store := range stores {
		app := login(t, store)
		b.signUp(remembered(app), "remembered", true)
		assert.False(t, b.cookies()[0].Session)
		b.signUp(plain(app), "plain", false)
		assert.True(t, b.cookies()[0].Session)
	}
	require.NoError(t, stop(ctx))

	ctx, err = start(program, dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stop(ctx)) })
	b = open(t, ctx)
	for _, store := range stores {
		app := login(t, store)
		b.goTo(remembered(app))
		assert.Contains(t, b.text(), "Hello, remembered", store)
		b.goTo(plain(app))
		assert.Equal(t, "/signin", b.path(), store)
		assert.Empty(t, b.cookies(), store)
	}
}

// Twelve requests at once that each set a key keep all twelve.
func TestParallelChanges(t *testing.T) {
	t.Parallel()
	for _, store := range stores {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			b := newProfile(t)
			app := newPlainApp(t, store)
			app.Post("/set/{key}", setKey)
			app.Get("/", countKeys)
			b.goTo(app.url)
			require.Contains(t, b.text(), "0 keys")
			statuses := eval[[]int](b, `Promise.all([...Array(12).keys()].map(key =>
				fetch("/set/" + key, {method: "POST"}).then(response => response.status)))`)
			for _, status := range statuses {
				assert.Equal(t, http.StatusOK, status)
			}
			b.leave(chromedp.Reload())
			assert.Contains(t, b.text(), "12 keys")
		})
	}
}

// To sign out in one tab signs out the others.
func TestTabs(t *testing.T) {
	onEachStore(t, func(t *testing.T, app *site) {
		one := newProfile(t)
		one.signUp(app.url, name(t), false)
		two := one.another()
		two.goTo(app.url + "/devices")
		require.Contains(t, two.text(), "this device")
		sid := one.sid()

		one.click("header button")
		assert.Equal(t, "/signin", one.path())
		two.leave(chromedp.Reload())
		assert.Equal(t, "/signin", two.path())
		assert.False(t, app.isIn(t, sid))
	})
}

// Two profiles are two devices. "Sign out everywhere else" ends one of them.
func TestDevices(t *testing.T) {
	onEachStore(t, func(t *testing.T, app *site) {
		laptop, phone := newProfile(t), newProfile(t)
		laptop.signUp(app.url, name(t), false)
		phone.signIn(app.url, name(t))
		const count = `document.querySelectorAll("main li").length`
		laptop.goTo(app.url + "/devices")
		require.Equal(t, 2, eval[int](laptop, count))
		assert.Regexp(t, "Chrome on ", laptop.text())

		laptop.click(`form[action="/devices/end-others"] button`)
		assert.Equal(t, "/devices", laptop.path())
		assert.Contains(t, laptop.text(), "One other device is signed out.")
		assert.Equal(t, 1, eval[int](laptop, count))
		phone.goTo(app.url + "/")
		assert.Equal(t, "/signin", phone.path())

		// One of them by its own button.
		phone.signIn(app.url, name(t))
		laptop.goTo(app.url + "/devices")
		require.Equal(t, 2, eval[int](laptop, count))
		laptop.click(`main li button:not([aria-label$="this device"])`)
		assert.Contains(t, laptop.text(), "The device is signed out.")
		phone.leave(chromedp.Reload())
		assert.Equal(t, "/signin", phone.path())
	})
}

// The ID from before a sign-in, and that from before a sign-out, are dead.
func TestOldIDs(t *testing.T) {
	onEachStore(t, func(t *testing.T, app *site) {
		b := newProfile(t)
		b.goTo(app.url + "/devices") // which is kept in a session, to be shown after the sign-in
		require.Equal(t, "/signin", b.path())
		before := b.sid()
		require.NotEmpty(t, before)

		b.signUp(app.url, name(t), false)
		during := b.sid()
		assert.NotEqual(t, before, during)
		assert.True(t, app.isIn(t, during))
		assert.False(t, app.isIn(t, before))

		b.click("header button")
		assert.NotEqual(t, during, b.sid())
		assert.False(t, app.isIn(t, during))
		assert.False(t, app.isIn(t, before))
	})
}

// Back after a sign-out shows nothing private.
func TestBack(t *testing.T) {
	onEachStore(t, func(t *testing.T, app *site) {
		b := newProfile(t)
		b.signUp(app.url, name(t), false)
		for _, path := range []string{"/session", "/devices", "/"} {
			b.goTo(app.url + path)
			require.Contains(t, b.text(), "Sign out")
		}
		b.click("header button")
		require.Equal(t, "/signin", b.path())
		for range 3 {
			b.do(chromedp.NavigateBack())
			assert.Equal(t, "/signin", b.path())
			assert.NotContains(t, b.text(), name(t))
			assert.NotContains(t, b.text(), "this device")
			assert.NotContains(t, b.text(), "Sign out")
		}
	})
}
