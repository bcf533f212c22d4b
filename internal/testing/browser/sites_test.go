package browser

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis"
	"github.com/flamego/session/sqlite"
)

const password = "correct horse"

var stores = []string{"memory", "sqlite", "redis"}

// onEachStore runs a test on the login app, with each of the stores.
func onEachStore(t *testing.T, test func(t *testing.T, app *site)) {
	t.Helper()
	t.Parallel()
	testserver.Chromium(t) // or skip
	for _, store := range stores {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			test(t, login(t, store))
		})
	}
}

// site is the login app.
type site struct {
	store string
	url   string // http://localhost:port
	port  string
}

var (
	sitesMu sync.Mutex
	sites   = make(map[string]*site)
	program = sync.OnceValues(build)
)

// build builds the login app, in the main module, as its users do.
func build() (string, error) {
	dir, err := os.MkdirTemp("", "login")
	if err != nil {
		return "", err
	}
	testserver.AtEnd(func() error { return os.RemoveAll(dir) })
	path := filepath.Join(dir, "login")
	cmd := exec.Command("go", "build", "-o", path, "./docs/examples/login")
	cmd.Dir = filepath.Join("..", "..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
}

// login returns the login app with a store. All tests share it.
func login(t *testing.T, store string) *site {
	t.Helper()
	args := []string{"-store", store, "-db", store + ".db"}
	if store == "redis" { // before the lock, as it skips the test where there is none
		args = append(args, "-dsn", "redis://:"+testserver.RedisPassword()+"@"+testserver.Redis(t)+"/0")
	}
	sitesMu.Lock()
	defer sitesMu.Unlock()
	if sites[store] == nil {
		sites[store] = run(t, store, args, testserver.AtEnd)
	}
	return sites[store]
}

// freshLogin returns a login app that no other test uses.
func freshLogin(t *testing.T) *site {
	t.Helper()
	testserver.Chromium(t) // or skip
	return run(t, "sqlite", []string{"-db", filepath.Join(t.TempDir(), "login.db")}, func(stop func() error) {
		t.Cleanup(func() { require.NoError(t, stop()) })
	})
}

// run starts the app and returns when it serves. What ends the app is given to atEnd.
func run(t *testing.T, store string, args []string, atEnd func(stop func() error)) *site {
	t.Helper()
	path, err := program()
	require.NoError(t, err)
	port, err := testserver.FreePort()
	require.NoError(t, err)
	address := net.JoinHostPort("127.0.0.1", port)

	var out bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Dir = filepath.Dir(path)
	cmd.Env = append(os.Environ(), "FLAMEGO_ADDR="+address)
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	atEnd(func() error { return end(cmd.Process, ended, &out) })
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		// Not by a dial alone: one to a port that nobody listens at yet may meet itself.
		if resp, err := http.Head("http://" + address + "/favicon.ico"); err == nil {
			require.NoError(t, resp.Body.Close())
			return &site{store: store, url: "http://localhost:" + port, port: port}
		}
		select {
		case err := <-ended:
			ended <- err
			require.FailNow(t, "the app ended", "%v\n%s", err, out.String())
		default:
		}
	}
	require.FailNow(t, "the app does not serve")
	return nil
}

// end interrupts the app and waits for its end.
func end(p *os.Process, ended <-chan error, out *bytes.Buffer) error {
	_ = p.Signal(os.Interrupt)
	select {
	case err := <-ended:
		if err != nil {
			return fmt.Errorf("the login app: %w\n%s", err, out)
		}
		return nil
	case <-time.After(patience):
		_ = p.Kill()
		<-ended
		return fmt.Errorf("an interrupt did not end the login app\n%s", out)
	}
}

// signUp makes an account, by the page at an address of the app, and is signed in then.
func (b *tab) signUp(address, name string, remember bool) {
	b.Helper()
	b.sign("up", address, name, remember)
}

// signIn is signed in to an account.
func (b *tab) signIn(address, name string) {
	b.Helper()
	b.sign("in", address, name, false)
}

func (b *tab) sign(how, address, name string, remember bool) {
	b.Helper()
	b.goTo(address + "/sign" + how)
	b.fill("#name", name)
	b.fill("#password", password)
	if remember {
		eval[bool](b, `document.querySelector("#remember").click(), true`)
	}
	require.Equal(b, http.StatusOK, b.click("main form button"))
	require.Contains(b, b.text(), "Hello, "+name)
}

// name returns a name that only this test has: all tests share the users of a store.
func name(t *testing.T) string {
	return strings.Map(func(r rune) rune {
		if r == '/' {
			return '-' // as names have no spaces
		}
		return r
	}, strings.TrimPrefix(t.Name(), "Test"))
}

// isIn asks the app, without a browser, whether a session ID is that of somebody who is signed in.
func (s *site) isIn(t *testing.T, sid string) bool {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/session", http.NoBody)
	require.NoError(t, err)
	r.AddCookie(&http.Cookie{Name: "flamego_session", Value: sid})
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Contains(t, []int{http.StatusOK, http.StatusSeeOther}, resp.StatusCode)
	return resp.StatusCode == http.StatusOK
}

// plainApp is an app of the test process, without what the login app has against forms of other
// sites, on the same stores.
type plainApp struct {
	*flamego.Flame
	url string // http://localhost:port

	mu       sync.Mutex
	requests []string // method, path, Sec-Fetch-Dest, Sec-Purpose
}

func newPlainApp(t *testing.T, store string) *plainApp {
	t.Helper()
	opts := session.Options{ErrorFunc: func(err error) { t.Error(err) }}
	switch store {
	case "sqlite":
		opts.Initer = sqlite.Initer()
		opts.Config = sqlite.Config{DSN: filepath.Join(t.TempDir(), "app.db"), InitTable: true}
	case "redis":
		opts.Initer = redis.Initer()
		opts.Config = redis.Config{
			Options:   &redis.Options{Addr: testserver.Redis(t), Password: testserver.RedisPassword()},
			KeyPrefix: t.Name() + ":",
		}
	}
	sessions, err := session.New(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sessions.Close()) })
	a := &plainApp{Flame: flamego.New()}
	a.Use(func(r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.requests = append(a.requests, strings.Join([]string{
			r.Method, r.URL.Path, r.Header.Get("Sec-Fetch-Dest"), r.Header.Get("Sec-Purpose"),
		}, " "))
	})
	a.Use(sessions.Handler())
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	a.url = origin(t, server.URL, "localhost")
	return a
}

// got reports whether there was a request.
func (a *plainApp) got(request string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.requests, request)
}

// html answers with a page that no cache keeps, and whose icon is no request.
func html(w http.ResponseWriter, text string) string {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	return "<!DOCTYPE html><title>Test</title><link rel=\"icon\" href=\"data:,\">" + text
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	return u.Port()
}
