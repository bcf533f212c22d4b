package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/flamego/flamego"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/with/internal/visitor"
)

// limit is for what takes milliseconds.
const limit = 30 * time.Second

// watched is a store that counts what watch does, and can be out of order.
type watched struct {
	session.Store
	reads, touches atomic.Int32
	down           atomic.Bool
}

func (s *watched) Read(ctx context.Context, sid string) (session.Session, error) {
	s.reads.Add(1)
	if s.down.Load() {
		return nil, errors.New("out of order")
	}
	return s.Store.Read(ctx, sid)
}

func (s *watched) Touch(ctx context.Context, sid string) error {
	s.touches.Add(1)
	return s.Store.Touch(ctx, sid)
}

type running struct {
	*app
	store  *watched
	server *httptest.Server
	end    context.CancelFunc
}

func start(t *testing.T) *running {
	sessions, err := session.New()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	store := &watched{Store: sessions.Store()}
	a := &running{app: &app{store: store, every: 10 * time.Millisecond, stop: ctx}, store: store, end: cancel}
	f := flamego.NewWithLogger(io.Discard)
	f.Use(sessions.Handler())
	a.routes(f)
	// For somebody who has no cookie yet.
	f.Get("/guest", func(w http.ResponseWriter, r *http.Request, s session.Session) {
		s.Set("name", "guest")
		a.socket(w, r, s)
	})
	a.server = visitor.Serve(t, f)
	t.Cleanup(func() {
		cancel()
		a.open.Wait()
		assert.NoError(t, sessions.Close())
	})
	return a
}

func (a *running) login(t *testing.T, name string) *visitor.Visitor {
	v := visitor.New(t, a.server)
	require.Contains(t, v.Post(a.server, "/login", "name="+name).Body, "You are "+name)
	return v
}

func (a *running) dial(t *testing.T, v *visitor.Visitor, path, origin string) (*websocket.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, a.server.URL+path, &websocket.DialOptions{
		HTTPClient: v.Client(),
		HTTPHeader: http.Header{"Origin": {origin}},
	})
	if err == nil {
		t.Cleanup(func() { _ = conn.CloseNow() })
	}
	return conn, resp, err
}

func (a *running) connect(t *testing.T, v *visitor.Visitor) *websocket.Conn {
	t.Helper()
	conn, _, err := a.dial(t, v, "/socket", a.server.URL)
	require.NoError(t, err)
	return conn
}

func say(t *testing.T, conn *websocket.Conn, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	require.NoError(t, conn.Write(ctx, websocket.MessageText, []byte("hello")))
	_, got, err := conn.Read(ctx)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
}

// closed waits until the server closes the connection, and returns its reason.
func closed(t *testing.T, conn *websocket.Conn) websocket.StatusCode {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	_, _, err := conn.Read(ctx)
	return websocket.CloseStatus(err)
}

// looks waits until the session was looked at n more times.
func (a *running) looks(t *testing.T, n int32) {
	t.Helper()
	before := a.store.reads.Load()
	require.Eventually(t, func() bool { return a.store.reads.Load() >= before+n }, limit, time.Millisecond)
}

func TestWhoMayConnect(t *testing.T) {
	t.Parallel()
	a := start(t)
	_, resp, err := a.dial(t, visitor.New(t, a.server), "/socket", a.server.URL)
	require.Error(t, err)
	assert.Equal(t, http.StatusUnauthorized, resp.StatusCode, "not logged in")

	alice := a.login(t, "alice")
	_, resp, err = a.dial(t, alice, "/socket", "https://other.example")
	require.Error(t, err)
	assert.Equal(t, http.StatusForbidden, resp.StatusCode, "a page of another site")
	say(t, a.connect(t, alice), "alice: hello")
}

func TestLoggedOutElsewhere(t *testing.T) {
	t.Parallel()
	a := start(t)
	alice, bob := a.login(t, "alice"), a.login(t, "bob")
	first, second, other := a.connect(t, alice), a.connect(t, alice), a.connect(t, bob)
	a.looks(t, 10)
	say(t, first, "alice: hello")

	alice.Post(a.server, "/logout", "")
	assert.Equal(t, websocket.StatusPolicyViolation, closed(t, first))
	assert.Equal(t, websocket.StatusPolicyViolation, closed(t, second))
	say(t, other, "bob: hello")

	// A new login is a new ID: the page opens another connection under it.
	bob.Post(a.server, "/login", "name=bob")
	assert.Equal(t, websocket.StatusPolicyViolation, closed(t, other))
	say(t, a.connect(t, bob), "bob: hello")
}

// The session lives on while the visitor writes, and only then.
func TestTouch(t *testing.T) {
	t.Parallel()
	a := start(t)
	conn := a.connect(t, a.login(t, "alice"))
	a.looks(t, 5)
	assert.Zero(t, a.store.touches.Load(), "a page that is left open does not count")
	say(t, conn, "alice: hello")
	a.looks(t, 5)
	assert.EqualValues(t, 1, a.store.touches.Load())
}

func TestOutage(t *testing.T) {
	t.Parallel()
	a := start(t)
	alice := a.login(t, "alice")
	conn := a.connect(t, alice)
	a.store.down.Store(true)
	a.looks(t, 3)
	say(t, conn, "alice: hello")
	alice.Post(a.server, "/logout", "")
	a.store.down.Store(false)
	assert.Equal(t, websocket.StatusPolicyViolation, closed(t, conn))
}

func TestStop(t *testing.T) {
	t.Parallel()
	a := start(t)
	conn := a.connect(t, a.login(t, "alice"))
	say(t, conn, "alice: hello")
	a.end()
	assert.Equal(t, websocket.StatusGoingAway, closed(t, conn))
	a.open.Wait()
}

// What is set before the connection is opened is stored by then, and the answer to the Upgrade
// has the cookie.
func TestCookie(t *testing.T) {
	t.Parallel()
	a := start(t)
	v := visitor.New(t, a.server)
	conn, resp, err := a.dial(t, v, "/guest", a.server.URL)
	require.NoError(t, err)
	require.Len(t, resp.Cookies(), 1)
	say(t, conn, "guest: hello")
	assert.Contains(t, v.Get(a.server, "/").Body, "You are guest")
}
