package browser

import (
	_ "embed"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// audit returns what is wrong with the page: text without contrast, fields without a label, and
// what is wider than the window.
//
//go:embed audit.js
var audit string

// onEachPage calls a function on each page of the login app.
func onEachPage(t *testing.T, app *site, visit func(b *tab, name string)) {
	t.Helper()
	b := newProfile(t)
	b.goTo(app.url + "/signin")
	visit(b, "sign in")
	b.goTo(app.url + "/signup")
	visit(b, "sign up")
	b.fill("#name", "alice")
	b.fill("#password", "short")
	require.Equal(t, http.StatusUnprocessableEntity, b.click("main form button"))
	visit(b, "sign up, with an error")
	b.signUp(app.url, "alice", true)
	visit(b, "home, with a flash")
	b.goTo(app.url + "/")
	visit(b, "home")
	other := newProfile(t)
	other.signIn(app.url, "alice")
	b.goTo(app.url + "/devices")
	visit(b, "devices")
	b.goTo(app.url + "/session")
	visit(b, "session")
	b.goTo(app.url + "/password")
	visit(b, "password")
	b.fill("#current", "wrong horse")
	b.fill("#password", "battery staple")
	require.Equal(t, http.StatusUnauthorized, b.click("main form button"))
	visit(b, "password, with an error")
	b.goTo(app.url + "/confirm")
	visit(b, "confirm")
	b.goTo(app.url + "/nothing")
	visit(b, "an error")
	b.goTo(app.url + "/confirm")
	b.fill("#current", "wrong horse")
	require.Equal(t, http.StatusUnauthorized, b.click("main form button"))
	visit(b, "confirm, with an error")
	// A name of the longest kind, without a place to break it.
	b = newProfile(t)
	b.signUp(app.url, strings.Repeat("W", 40), false)
	visit(b, "home, with a long name")
	b.goTo(app.url + "/devices")
	visit(b, "devices, with a long name")
}

// looks are how a page is looked at: as "dark-390".
var looks = []struct {
	scheme string
	width  int64
}{{"light", 1280}, {"dark", 1280}, {"light", 390}, {"dark", 390}}

// look has the browser show the page in a scheme and width.
func (b *tab) look(scheme string, width, height int64) {
	b.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 500,
	})
}

// Every page can be read, in light and in dark, on a wide and on a narrow screen; every field has
// its label; and the console has no error.
func TestPages(t *testing.T) {
	t.Parallel()
	app := freshLogin(t)
	seen := 0
	onEachPage(t, app, func(b *tab, name string) {
		console := slices.DeleteFunc(b.takeConsole(), func(line string) bool {
			// What the browser says of a page whose status is an error, which is meant here.
			return strings.Contains(name, "error") && strings.HasPrefix(line, "Failed to load resource: the server responded with a status of 4")
		})
		assert.Empty(b, console, name)
		for _, look := range looks {
			b.look(look.scheme, look.width, 800)
			require.True(b, eval[bool](b, fmt.Sprintf("matchMedia('(prefers-color-scheme: %s)').matches && innerWidth === %d", look.scheme, look.width)), look)
			assert.Empty(b, eval[[]string](b, audit), "%s, %s, %d pixels wide", name, look.scheme, look.width)
		}
		seen++
	})
	assert.Equal(t, 14, seen)
}

// focus is the element with the focus, as a script knows it again.
const focus = `[...document.querySelectorAll("a, button, input")].indexOf(document.activeElement)`

// The Tab key reaches every link, field and button in the order of the page, each with a visible
// focus.
func TestTabOrder(t *testing.T) {
	t.Parallel()
	onEachPage(t, freshLogin(t), func(b *tab, name string) {
		n := eval[int](b, `document.querySelectorAll("a, button, input").length`)
		require.Positive(b, n)
		// From the start of the page, wherever it has put the focus.
		require.True(b, eval[bool](b, `document.body.tabIndex = -1, document.body.focus(), document.activeElement === document.body`))
		for i := range n {
			b.do(chromedp.KeyEvent(kb.Tab))
			require.Equal(b, i, eval[int](b, focus), name)
			assert.NotEqual(b, "none", eval[string](b, `getComputedStyle(document.activeElement).outlineStyle`), name)
		}
	})
}

// The keys alone sign up, sign out and sign in.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	b := newProfile(t)
	app := freshLogin(t)
	tabs := func(n int) chromedp.Action[chromedp.Void] { return chromedp.KeyEvent(strings.Repeat(kb.Tab, n)) }

	b.goTo(app.url + "/signup")
	b.do(tabs(4), chromedp.KeyEvent("keys-only"), tabs(1), chromedp.KeyEvent(password))
	b.leave(chromedp.KeyEvent(kb.Enter)) // in the field of the password
	require.Contains(t, b.text(), "Hello, keys-only")

	b.do(tabs(6))
	b.leave(chromedp.KeyEvent(kb.Enter)) // on the button
	require.Equal(t, "/signin", b.path())

	b.do(tabs(4), chromedp.KeyEvent("keys-only"), tabs(1), chromedp.KeyEvent(password), tabs(1), chromedp.KeyEvent(" "), tabs(1))
	b.leave(chromedp.KeyEvent(kb.Enter))
	require.Contains(t, b.text(), "Hello, keys-only")
	assert.False(t, b.cookies()[0].Session, "the space has ticked the box")
}
