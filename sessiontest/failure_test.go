package sessiontest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
	"github.com/flamego/session/sessiontest"
	"github.com/flamego/session/sqlite"
)

// failing is the *testing.T of a test that fails, and tells how.
type failing struct {
	testing.TB
	mu     sync.Mutex
	errors []string
	ended  bool
}

func (t *failing) Helper() {}

func (t *failing) Errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errors = append(t.errors, fmt.Sprintf(format, args...))
}

func (t *failing) Fatal(args ...any) {
	t.Errorf("%s", fmt.Sprint(args...))
	t.FailNow()
}

func (t *failing) FailNow() {
	t.ended = true
	runtime.Goexit()
}

// in runs f as a test function and returns what it has failed with since the last call.
func (t *failing) in(f func()) []string {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
	defer func() { t.errors = nil }()
	return t.errors
}

type unregistered struct{ Name string }

func TestUnregisteredType(t *testing.T) {
	app, m := newApp(t, onBackend(mapbackend.New()))
	ft := &failing{TB: t}
	told := ft.in(func() { sessiontest.New(ft, m, session.Data{"user": unregistered{"Alice"}}) })
	require.Len(t, told, 1)
	require.Regexp(t, `the session cannot be stored: session: store: save: .*unregistered under key "user".*registered`, told[0])
	require.True(t, ft.ended)

	v := sessiontest.New(ft, m, session.Data{"user_id": 1})
	ft.ended = false
	told = ft.in(func() { v.Change(func(s session.Session) { s.Set("user", unregistered{"Alice"}) }) })
	require.Len(t, told, 1)
	require.Contains(t, told[0], `unregistered under key "user"`)
	require.False(t, ft.ended, "Change may be called on another goroutine")
	require.Nil(t, v.Get("user"))
	require.Equal(t, "1", get(v, app, "/"), "all else is as before")
}

func TestStoreIsDown(t *testing.T) {
	down, errDown := false, errors.New("no connection")
	b := mapbackend.New()
	b.Before = func(context.Context, string, string) error {
		if down {
			return errDown
		}
		return nil
	}
	for name, opts := range map[string]session.Options{
		"default": onBackend(b),
		"teapot": func() session.Options {
			o := onBackend(b)
			o.FailFunc = func(http.ResponseWriter, *http.Request) {}
			return o
		}(),
		"token": func() session.Options { o := onBackend(b); o.ReadIDFunc, o.WriteIDFunc = bearer, nothing; return o }(),
	} {
		t.Run(name, func(t *testing.T) {
			opts.ErrorFunc = func(error) {}
			app, m := newApp(t, opts)
			ft := &failing{TB: t}
			v := sessiontest.New(ft, m, session.Data{"user_id": 1})
			down = true
			for method, call := range map[string]func(){
				"New":    func() { sessiontest.New(ft, m, session.Data{"user_id": 1}) },
				"Change": func() { v.Change(func(session.Session) { t.Error("is called") }) },
				"Get":    func() { require.Nil(t, v.Get("user_id")) },
				"Flash":  func() { require.Nil(t, v.Flash()) },
				"ID":     func() { require.Empty(t, v.ID()) },
			} {
				told := ft.in(call)
				require.Len(t, told, 1, method)
				require.Regexp(t, "^sessiontest: the session cannot be (read|stored).*: session: .*no connection", told[0], method)
				require.Equal(t, method == "New", ft.ended, method)
				ft.ended = false
			}
			require.Equal(t, http.StatusInternalServerError, post(v, app, "/login").Code, "Do shows what the app answers")
			down = false
			require.Empty(t, ft.in(func() { require.Equal(t, 1, v.Get("user_id")) }))
		})
	}
}

// A write that fails on the way out of a request, once.
func TestSaveFails(t *testing.T) {
	b, told := mapbackend.New(), atomic.Int32{}
	opts := onBackend(b)
	opts.ErrorFunc = func(error) { told.Add(1) }
	_, m := newApp(t, opts)
	ft := &failing{TB: t}
	v := sessiontest.New(ft, m, session.Data{"user_id": 1})
	v.Change(func(s session.Session) { s.SetFlash("hello") })
	b.Before = func(_ context.Context, method, _ string) error {
		if method == "Swap" {
			return errors.New("disk full")
		}
		return nil
	}
	require.Regexp(t, "stored: session: store: save: .*disk full", ft.in(func() { v.Change(func(s session.Session) { s.Set("user_id", 2) }) })[0])
	require.Regexp(t, "stored: session: store: save: .*disk full", ft.in(func() { v.Flash() })[0])
	require.Equal(t, 1, v.Get("user_id"))
	require.Zero(t, told.Load(), "it is the test that is told")
}

func TestClosedManager(t *testing.T) {
	_, m := newApp(t, session.Options{
		Initer: sqlite.Initer(), Config: sqlite.Config{DSN: filepath.Join(t.TempDir(), "app.db"), InitTable: true},
		ErrorFunc: func(error) {},
	})
	ft := &failing{TB: t}
	v := sessiontest.New(ft, m, session.Data{"user_id": 1})
	require.NoError(t, m.Close())
	require.Regexp(t, "cannot be read.*closed", ft.in(func() { v.Get("user_id") })[0])
	require.Regexp(t, "cannot be stored.*closed", ft.in(func() { sessiontest.New(ft, m, session.Data{"user_id": 1}) })[0])
}

func TestNoManager(t *testing.T) {
	ft := &failing{TB: t}
	require.Regexp(t, "needs the Manager", ft.in(func() { sessiontest.New(ft, nil, nil) })[0])
}

// What f does to the test reaches it, and nothing is stored.
func TestChangePanics(t *testing.T) {
	_, m := newApp(t, session.Options{})
	ft := &failing{TB: t}
	v := sessiontest.New(ft, m, session.Data{"user_id": 1})
	require.PanicsWithValue(t, "in f", func() {
		v.Change(func(s session.Session) { s.Set("user_id", 2); panic("in f") })
	})
	require.Len(t, ft.in(func() {
		v.Change(func(s session.Session) { s.Set("user_id", 2); ft.Fatal("in f") })
		t.Error("the test goes on")
	}), 1)
	require.Equal(t, 1, v.Get("user_id"))
}
