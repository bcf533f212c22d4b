package session_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// counts is what a counting backend was asked to do.
type counts struct{ writes, extends atomic.Int32 }

func (n *counts) backend() *mapbackend.Backend {
	return before(func(_ context.Context, method, _ string) error {
		switch method {
		case "Insert", "Swap":
			n.writes.Add(1)
		case "Extend":
			n.extends.Add(1)
		}
		return nil
	})
}

// A session that is read time and again is extended when TouchInterval has
// passed and at no other time, and is never written to.
func TestTouchInterval(t *testing.T) {
	for _, tt := range []struct {
		lifetime, interval time.Duration
		want               int // touches in 100 requests, one each second
	}{
		{time.Hour, 0, 1},         // every minute
		{10 * time.Hour, 0, 1},    // every minute, no longer
		{10 * time.Minute, 0, 10}, // every 10 seconds
		{time.Minute, 0, 100},     // every second
		{59 * time.Second, 0, 100},
		{time.Hour, 5 * time.Minute, 0},
		{time.Hour, 30 * time.Second, 3},
		{time.Hour, -1, 100},
		{time.Hour, 1, 100},
	} {
		t.Run(fmt.Sprintf("%v %v", tt.lifetime, tt.interval), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(counts)
				a := newApp(t, session.Options{
					TouchInterval: tt.interval,
					Config:        n,
					Initer: session.NewIniter(func(_ context.Context, n *counts) (session.Backend, session.StoreConfig, error) {
						return n.backend(), session.StoreConfig{Lifetime: tt.lifetime}, nil
					}),
				})
				a.Get("/set", func(s session.Session) { s.Set("key", 1) })
				a.Get("/", func(s session.Session) string { return fmt.Sprint(s.Get("key")) })
				a.get("/set")
				require.EqualValues(t, 1, n.writes.Load())
				for range 50 { // without a pause: only "every request" writes
					require.Equal(t, "1", a.get("/").Body.String())
				}
				if tt.interval >= 0 && tt.lifetime >= time.Minute {
					require.Zero(t, n.extends.Load())
				}
				n.extends.Store(0)
				for range 100 {
					time.Sleep(time.Second)
					require.Equal(t, "1", a.get("/").Body.String())
				}
				require.EqualValues(t, tt.want, n.extends.Load())
				require.EqualValues(t, 1, n.writes.Load())
			})
		})
	}
}

func TestTouchIntervalTooLong(t *testing.T) {
	for _, tt := range []struct {
		lifetime, interval time.Duration
		ok                 bool
	}{
		{time.Minute, time.Minute, false},
		{time.Minute, time.Hour, false},
		{time.Minute, time.Minute - 1, true},
		{0, time.Hour, false}, // the default
		{time.Second, 0, true},
	} {
		m, err := session.New(session.Options{Config: session.MemoryConfig{Lifetime: tt.lifetime}, TouchInterval: tt.interval})
		if tt.ok {
			require.NoError(t, err)
			require.NoError(t, m.Close())
			continue
		}
		require.ErrorContains(t, err, "not shorter than the Lifetime")
	}
}

// lifetimeApp is an app on a clock of its own, inside a synctest bubble.
func lifetimeApp(t *testing.T, lifetime, interval time.Duration) *app {
	t.Helper()
	a := newApp(t, session.Options{Config: session.MemoryConfig{Lifetime: lifetime}, TouchInterval: interval})
	a.Get("/set", func(s session.Session) { s.Set("key", 1) })
	a.Get("/", func(s session.Session) string { return fmt.Sprint(s.Get("key")) })
	return a
}

// A session lives as long as the time between two accesses is less than its
// Lifetime, and not longer; GC has no part in it.
func TestIdleLifetime(t *testing.T) {
	const lifetime = time.Hour
	for _, interval := range []time.Duration{-1, 0, 10 * time.Minute} {
		t.Run(fmt.Sprint(interval), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := lifetimeApp(t, lifetime, interval)
				a.get("/set")
				for range 10 {
					time.Sleep(lifetime / 2)
					require.Equal(t, "1", a.get("/").Body.String())
				}
				time.Sleep(lifetime - 1)
				require.Equal(t, "1", a.get("/").Body.String())
				time.Sleep(lifetime)
				require.Equal(t, "<nil>", a.get("/").Body.String())
			})
		})
	}
}

// With a TouchInterval a session lives its full Lifetime after the last access,
// to within the interval, at whatever moment that access was.
func TestThrottledLifetime(t *testing.T) {
	const lifetime, interval = time.Hour, 10 * time.Minute
	for last := time.Duration(0); last <= 2*interval; last += time.Minute + time.Second {
		synctest.Test(t, func(t *testing.T) {
			a := lifetimeApp(t, lifetime, interval)
			a.get("/set")
			time.Sleep(last)
			require.Equal(t, "1", a.get("/").Body.String())
			sid := sidOf(a.cookie)
			time.Sleep(lifetime - interval)
			require.True(t, a.Store().Exist(t.Context(), sid), "after access at %v", last)
			time.Sleep(interval)
			require.False(t, a.Store().Exist(t.Context(), sid), "after access at %v", last)
		})
	}
}

// A request that only reads carries no data back, and brings nothing back, when
// it extends a session that was changed, renewed, destroyed or died meanwhile.
func TestTouchCarriesNothing(t *testing.T) {
	for name, opts := range map[string]session.Options{
		"memory":  {},
		"backend": backendOptions(mapbackend.New()),
		"file":    {Initer: session.FileIniter(), Config: session.FileConfig{RootDir: t.TempDir()}},
	} {
		opts.TouchInterval = -1
		t.Run(name, func(t *testing.T) {
			a := newApp(t, opts)
			var meanwhile func(other *app)
			a.Get("/slow", func() string {
				other := a.visitor(a.cookie)
				meanwhile(other)
				return "ok"
			})
			a.Get("/set", func(s session.Session) {
				n, _ := session.Value[int](s, "key")
				s.Set("key", n+1)
			})
			a.Get("/renew", func(s session.Session, w http.ResponseWriter, r *http.Request) error { return s.RegenerateID(w, r) })
			a.Get("/end", func(s session.Session, w http.ResponseWriter, r *http.Request) error {
				return session.Destroy(w, r, s)
			})
			store, ctx := a.Store(), context.Background()
			slow := func(paths ...string) (old, now string) {
				a.cookie = ""
				a.get("/set")
				old = sidOf(a.cookie)
				meanwhile = func(other *app) {
					for _, path := range paths {
						require.Equal(t, http.StatusOK, other.get(path).Code)
					}
					now = sidOf(other.cookie)
				}
				require.Equal(t, "ok", a.get("/slow").Body.String())
				require.Empty(t, a.TakeErrors())
				return old, now
			}
			old, _ := slow("/set", "/set")
			require.Equal(t, 3, get(t, store, old, "key"))
			old, now := slow("/renew")
			require.False(t, store.Exist(ctx, old))
			require.Equal(t, 1, get(t, store, now, "key"))
			old, _ = slow("/end")
			require.False(t, store.Exist(ctx, old))
			require.NoError(t, store.Touch(ctx, old))
			require.False(t, store.Exist(ctx, old))
		})
	}
}

// A session that dies while a request reads it stays dead, and the request is
// none the worse for it.
func TestTouchAfterExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := lifetimeApp(t, time.Minute, -1)
		a.Get("/slow", func(s session.Session) string { time.Sleep(2); return fmt.Sprint(s.Get("key")) })
		a.get("/set")
		sid := sidOf(a.cookie)
		time.Sleep(time.Minute - 1)
		require.Equal(t, "1", a.get("/slow").Body.String())
		require.False(t, a.Store().Exist(t.Context(), sid))
		require.NoError(t, a.Store().GC(t.Context()))
		require.Zero(t, session.MemoryLen(a.Store()))
		require.Empty(t, a.TakeErrors())
	})
}

// A session in use is not collected at the edge of its life: a GC that runs at
// the moment its old life would have ended finds it extended.
func TestGCAtTheEdgeMemory(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			a := lifetimeApp(t, time.Minute, -1)
			store := a.Store()
			a.get("/set")
			cookie := a.cookie
			time.Sleep(time.Minute - 1)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					v := a.visitor(cookie)
					require.Equal(t, "1", v.get("/").Body.String())
				})
				wg.Go(func() { require.NoError(t, store.GC(context.Background())) })
			}
			wg.Wait()
			time.Sleep(1)
			require.NoError(t, store.GC(t.Context()))
			require.True(t, store.Exist(t.Context(), sidOf(cookie)))
			require.Equal(t, "1", a.get("/").Body.String())
		})
	}
}

// The same with files, on the real clock: the file is made to look as old as can
// be, then touched while GC goes round and round.
func TestGCAtTheEdgeFile(t *testing.T) {
	dir := t.TempDir()
	const lifetime = 2 * time.Second
	a := newApp(t, session.Options{
		Initer: session.FileIniter(), Config: session.FileConfig{RootDir: dir, Lifetime: lifetime}, TouchInterval: -1,
	})
	a.Get("/set", func(s session.Session) { s.Set("key", 1) })
	a.Get("/", func(s session.Session) string { return fmt.Sprint(s.Get("key")) })
	store, ctx := a.Store(), context.Background()
	age := func(sid string, left time.Duration) {
		old := time.Now().Add(left - lifetime)
		require.NoError(t, os.Chtimes(filepath.Join(dir, sid[:1], sid[1:2], sid), old, old))
	}
	a.get("/set")
	age(sidOf(a.cookie), -time.Millisecond)
	require.NoError(t, store.Touch(ctx, sidOf(a.cookie)))
	require.False(t, store.Exist(ctx, sidOf(a.cookie)), "the dead are not touched to life")

	var stop atomic.Bool
	var gc sync.WaitGroup
	for range 2 {
		gc.Go(func() {
			for !stop.Load() {
				require.NoError(t, store.GC(ctx))
			}
		})
	}
	lived := 0
	for round := range 200 {
		a.cookie = ""
		a.get("/set")
		sid := sidOf(a.cookie)
		// It has between nothing and a few milliseconds left.
		left := time.Duration(round%20) * 250 * time.Microsecond
		age(sid, left)
		require.NoError(t, store.Touch(ctx, sid))
		// Extended or not, it is all there or all gone, and stays what it is.
		exists := store.Exist(ctx, sid)
		if exists {
			lived++
			time.Sleep(left + time.Millisecond)
			require.True(t, store.Exist(ctx, sid), "GC took a session that was extended in time")
			require.Equal(t, 1, get(t, store, sid, "key"))
		}
	}
	stop.Store(true)
	gc.Wait()
	require.Positive(t, lived, "the test has tested nothing")
}
