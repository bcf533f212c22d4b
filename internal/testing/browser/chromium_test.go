package browser

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/testing/testserver"
)

// patience is how long anything may take that takes a moment on an idle machine.
const patience = time.Minute

func TestMain(m *testing.M) { testserver.Main(m) }

// start starts a browser that keeps its profile in a folder. The context that is returned has one
// tab.
func start(program, dir string) (context.Context, error) {
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program),
		chromedp.UserDataDir(dir),
		chromedp.Flag("headless", "new"),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.WindowSize(1280, 800),
		// The sandbox cannot be had everywhere: not by root, nor in many containers. The pages are
		// those of these tests.
		chromedp.NoSandbox,
	)
	ctx, _ := chromedp.NewExecAllocator(context.Background(), opts...)
	// The protocol of a newer Chromium has events that the driver does not know, and complains of.
	ctx, _ = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {}))
	return ctx, chromedp.Do(ctx)
}

// stop closes a browser as its user does, so that it keeps what it has to keep.
func stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return chromedp.Cancel(ctx)
}

// shared is the browser of all profiles that need not outlive it.
var shared = sync.OnceValues(func() (context.Context, error) {
	program, err := testserver.FindChromium()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "chromium")
	if err != nil {
		return nil, err
	}
	ctx, err := start(program, dir)
	testserver.AtEnd(func() error { return errors.Join(stop(ctx), os.RemoveAll(dir)) })
	return ctx, err
})

// tab is a tab of a profile.
type tab struct {
	*testing.T
	ctx context.Context

	mu      sync.Mutex
	console []string
}

// newProfile returns the first tab of a profile that has no cookies yet.
func newProfile(t *testing.T) *tab {
	t.Helper()
	testserver.Chromium(t) // or skip
	ctx, err := shared()
	require.NoError(t, err)
	return open(t, ctx, chromedp.WithNewBrowserContext())
}

// another returns another tab of the same profile.
func (b *tab) another() *tab {
	b.Helper()
	return open(b.T, b.ctx)
}

func open(t *testing.T, parent context.Context, opts ...chromedp.ContextOption) *tab {
	t.Helper()
	b := &tab{T: t}
	ctx, cancel := chromedp.NewContext(parent, append(opts, chromedp.WithListener(b.listen))...)
	t.Cleanup(cancel)
	b.ctx = ctx
	require.NoError(t, chromedp.Do(ctx))
	call(b, log.Enable, struct{}{})
	return b
}

// mayFetch turns off the Content-Security-Policy, from the next page on.
func (b *tab) mayFetch() {
	b.Helper()
	call(b, page.SetBypassCSP, page.SetBypassCSPParams{Enabled: true})
}

// listen notes what would be red in the console.
func (b *tab) listen(ev any) {
	var line string
	switch ev := ev.(type) {
	case *log.EventEntryAdded:
		if ev.Entry.Level == log.EntryLevelError {
			line = fmt.Sprint(ev.Entry.Text, " ", ev.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		line = ev.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		if ev.Type == runtime.ConsoleAPICalledTypeError {
			line = "console.error"
		}
	}
	if line == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.console = append(b.console, line)
}

// takeConsole returns the errors in the console since it was last called.
func (b *tab) takeConsole() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := b.console
	b.console = nil
	return lines
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	require.NoError(b, chromedp.Do(ctx, steps...))
}

// goTo opens a page.
func (b *tab) goTo(address string) {
	b.Helper()
	b.do(chromedp.Navigate(address))
}

// leave does what leads to another page, waits for it, and returns its status.
func (b *tab) leave(steps ...chromedp.Action[chromedp.Void]) int {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	resp, err := chromedp.RunResponse(ctx, steps...)
	require.NoError(b, err)
	return int(resp.Status)
}

// click clicks on what leads to another page.
func (b *tab) click(selector string) int {
	b.Helper()
	return b.leave(chromedp.Click(chromedp.CSS(selector)))
}

// fill writes into a field, at once. TestKeyboard has the keys.
func (b *tab) fill(selector, text string) {
	b.Helper()
	b.do(chromedp.SetValue(chromedp.CSS(selector), text))
}

// text is what the page shows.
func (b *tab) text() string {
	b.Helper()
	return eval[string](b, `document.body.innerText`)
}

// path is where the page is.
func (b *tab) path() string {
	b.Helper()
	return eval[string](b, `location.pathname`)
}

// cookies are the cookies that the page is sent.
func (b *tab) cookies() []*network.Cookie {
	b.Helper()
	return call(b, network.GetCookies, network.GetCookiesParams{}).Cookies
}

// sid is the session ID in the cookie, or empty.
func (b *tab) sid() string {
	b.Helper()
	for _, c := range b.cookies() {
		if c.Name == "flamego_session" {
			return c.Value
		}
	}
	return ""
}

// origin is where a page has the app.
func origin(t *testing.T, address, host string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	return "http://" + host + ":" + u.Port()
}

// eval returns what a script in the page returns. It waits for a promise.
func eval[T any](b *tab, script string) T {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	val, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	require.NoError(b, err, script)
	return val
}

// call has the browser run a command of its protocol.
func call[P, R any](b *tab, cmd cdp.Command[P, R], params P) R {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, cmd, params)
	require.NoError(b, err)
	return result
}
