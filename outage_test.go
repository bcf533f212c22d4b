package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/webapp"
)

// outage is a switch for a backend: while it is on, operations fail with an error
// that holds what an error must not show, or hang.
type outage struct {
	on    atomic.Bool
	hangs atomic.Bool
}

func (o *outage) fail(ctx context.Context, method, sid string) error {
	switch {
	case method == "Rename" || method == "Delete" || method == "Sweep":
	case o.hangs.Load():
		<-ctx.Done()
		return ctx.Err()
	case o.on.Load():
		return fmt.Errorf("connection refused while asking for %s", sid)
	}
	return nil
}

func newOutageApp(t *testing.T, opts session.Options) (*app, *outage) {
	t.Helper()
	o := new(outage)
	opts.Initer = session.NewIniter(func(context.Context, *outage) (session.Backend, session.StoreConfig, error) {
		return before(o.fail), session.StoreConfig{Name: "flaky"}, nil
	})
	opts.Config = o
	return newApp(t, opts), o
}

// requireOutage checks what users and operators see of an outage: a generic
// page, one error, and neither with the ID in it.
func requireOutage(t *testing.T, a *app, path, op string) {
	t.Helper()
	sid := sidOf(a.cookie)
	w := a.get(path)
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Equal(t, "Internal Server Error\n", w.Body.String())
	require.Empty(t, w.Header().Values("Set-Cookie"))
	errs := a.TakeErrors()
	require.Len(t, errs, 1)
	require.ErrorContains(t, errs[0], "session: flaky: "+op+": connection refused while asking for [session ID]")
	require.NotContains(t, errs[0].Error(), sid)
}

func TestOutage(t *testing.T) {
	a, o := newOutageApp(t, session.Options{})
	served := 0
	a.Get("/", func(s session.Session) string { served++; s.Set("n", served); return "ok" })
	a.get("/")
	o.on.Store(true)
	requireOutage(t, a, "/", "read")
	require.Equal(t, 1, served, "no handler runs without its session")
	o.on.Store(false)
	require.Equal(t, "ok", a.get("/").Body.String(), "the first request that can succeed does")
	require.Empty(t, a.TakeErrors())
}

// A commit that fails is a 500 through every way that a handler has to answer,
// and the next request finds what was there before.
func TestFailedCommit(t *testing.T) {
	a, o := newOutageApp(t, session.Options{})
	a.Use(flamego.Renderer())
	fail := func(s session.Session) {
		s.Set("key", "changed")
		o.on.Store(true)
	}
	a.Get("/string", func(s session.Session) string { fail(s); return "ok" })
	a.Get("/status", func(s session.Session) (int, string) { fail(s); return http.StatusCreated, "ok" })
	a.Get("/bytes", func(s session.Session) []byte { fail(s); return []byte("ok") })
	a.Get("/error", func(s session.Session) error { fail(s); return errors.New("from the handler") })
	a.Get("/nothing", func(s session.Session) { fail(s) })
	a.Get("/redirect", func(c flamego.Context, s session.Session) { fail(s); c.Redirect("/elsewhere") })
	a.Get("/render", func(s session.Session, r flamego.Render) { fail(s); r.JSON(http.StatusOK, "ok") })
	a.Get("/writer", func(s session.Session, w http.ResponseWriter) {
		fail(s)
		n, err := w.Write([]byte("ok"))
		require.Error(t, err)
		require.Zero(t, n)
		_, err = w.Write([]byte("more"))
		require.Error(t, err)
	})
	a.Get("/header", func(s session.Session, w http.ResponseWriter) {
		fail(s)
		w.Header().Set("Content-Length", "2")
		w.WriteHeader(http.StatusNoContent)
	})
	a.Get("/context", func(s session.Session, c flamego.Context) {
		fail(s)
		_, err := c.ResponseWriter().Write([]byte("ok"))
		require.Error(t, err)
	})
	a.Get("/flush", func(s session.Session, w http.ResponseWriter) { fail(s); w.(http.Flusher).Flush() })
	a.Get("/hijack", func(s session.Session, w http.ResponseWriter) {
		fail(s)
		_, _, err := w.(http.Hijacker).Hijack()
		require.Error(t, err)
	})
	a.Get("/set", func(s session.Session) { s.Set("key", "kept") })
	a.Get("/get", func(s session.Session) string { return s.Get("key").(string) })

	for _, path := range []string{"/string", "/status", "/bytes", "/error", "/nothing", "/redirect", "/render", "/writer", "/header", "/context", "/flush", "/hijack"} {
		t.Run(path[1:], func(t *testing.T) {
			o.on.Store(false)
			a.get("/set")
			requireOutage(t, a, path, "save")
			o.on.Store(false)
			require.Equal(t, "kept", a.get("/get").Body.String())
		})
	}
}

// A visitor whose first commit fails gets no ID for a session that is not
// there.
func TestFailedFirstCommit(t *testing.T) {
	a, o := newOutageApp(t, session.Options{})
	a.Get("/", func(s session.Session) string { s.Set("key", 1); return "ok" })
	o.on.Store(true)
	w := a.get("/")
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Empty(t, w.Header().Values("Set-Cookie"))
}

// Once the response has begun there is nothing left but to break it off: the
// client must not take it for a success.
func TestFailedLateCommit(t *testing.T) {
	a, o := newOutageApp(t, session.Options{})
	a.Handlers(flamego.Recovery(), a.Handler())
	a.Get("/", func(s session.Session, w http.ResponseWriter) {
		_, err := w.Write([]byte("begun"))
		require.NoError(t, err)
		w.(http.Flusher).Flush()
		s.Set("key", 1)
		o.on.Store(true)
	})
	resp := webapp.Connect(t, a.serve(t, false).URL).Open("/")
	defer func() { _ = resp.Body.Close() }()
	_, err := io.ReadAll(resp.Body)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.Len(t, a.TakeErrors(), 1)

	o.on.Store(false)
	a.Handlers(a.Handler())
	require.Panics(t, func() { a.get("/") }, "where there is no connection to close")
}

func TestFailedTouchIsNoOutage(t *testing.T) {
	a, o := newOutageApp(t, session.Options{TouchInterval: -1})
	a.Get("/set", func(s session.Session) { s.Set("key", 1) })
	a.Get("/", func() string { o.on.Store(true); return "ok" })
	a.get("/set")
	require.Equal(t, "ok", a.get("/").Body.String())
	require.Len(t, a.TakeErrors(), 1)
}

func TestTimeout(t *testing.T) { synctest.Test(t, timeout) }

func timeout(t *testing.T) {
	a, o := newOutageApp(t, session.Options{Timeout: 50 * time.Millisecond})
	a.Get("/", func(s session.Session) string { s.Set("key", 1); return "ok" })
	a.get("/")
	o.hangs.Store(true)
	require.Equal(t, http.StatusInternalServerError, a.get("/").Code)
	errs := a.TakeErrors()
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], context.DeadlineExceeded)
	require.ErrorContains(t, errs[0], "session: flaky: read: ")
}
