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

// seenBackend notes which IDs are looked up and counts what is written.
type seenBackend struct {
	session.Backend
	seen           *[]string
	writes, extend atomic.Int32
}

func (b *seenBackend) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	if b.seen != nil {
		*b.seen = append(*b.seen, sid)
	}
	return b.Backend.Load(ctx, sid)
}

func (b *seenBackend) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	b.writes.Add(1)
	return b.Backend.Insert(ctx, sid, rec)
}

func (b *seenBackend) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	b.writes.Add(1)
	return b.Backend.Swap(ctx, sid, old, rec)
}

func (b *seenBackend) Extend(ctx context.Context, sid string, ttl time.Duration) error {
	b.extend.Add(1)
	return b.Backend.Extend(ctx, sid, ttl)
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
				b := &seenBackend{Backend: mapbackend.New()}
				a := newApp(t, session.Options{
					TouchInterval: tt.interval,
					Config:        b,
					Initer: session.NewIniter(func(_ context.Context, b *seenBackend) (session.Backend, session.StoreConfig, error) {
						return b, session.StoreConfig{Lifetime: tt.lifetime}, nil
					}),
				})
				a.Get("/set", func(s session.Session) { s.Set("key", 1) })
				a.Get("/", func(s session.Session) string { return fmt.Sprint(s.Get("key")) })
				a.get("/set")
				require.EqualValues(t, 1, b.writes.Load())
				for range 50 { // without a pause: only "every request" writes
					require.Equal(t, "1", a.get("/").Body.String())
				}
				if tt.interval >= 0 && tt.lifetime >= time.Minute {
					require.Zero(t, b.extend.Load())
				}
				b.extend.Store(0)
				for range 100 {
					time.Sleep(time.Second)
					require.Equal(t, "1", a.get("/").Body.String())
				}
				require.EqualValues(t, tt.want, b.extend.Load())
				require.EqualValues(t, 1, b.writes.Load())
			})
		})
	}
}

// Many requests at once inside TouchInterval write nothing at all.
func TestReadOnlyRequestsWriteNothing(t *testing.T) {
	b := &seenBackend{Backend: mapbackend.New()}
	a := newApp(t, backendOptions(b))
	a.Get("/set", func(s session.Session) { s.Set("key", 1) })
	a.Get("/", func(s session.Session, flash session.Flash) string {
		s.Get("key")
		return fmt.Sprint(flash)
	})
	a.get("/set")
	cookie := a.cookie
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			v := &app{t: t, Flame: a.Flame, cookie: cookie}
			for range 10 {
				v.get("/")
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, b.writes.Load())
	require.Zero(t, b.extend.Load())
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
			require.True(t, a.m.Store().Exist(t.Context(), sid), "after access at %v", last)
			time.Sleep(interval)
			require.False(t, a.m.Store().Exist(t.Context(), sid), "after access at %v", last)
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
				other := &app{t: t, Flame: a.Flame, cookie: a.cookie}
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
			store, ctx := a.m.Store(), context.Background()
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
				require.Empty(t, a.errs.take())
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
		require.False(t, a.m.Store().Exist(t.Context(), sid))
		require.NoError(t, a.m.Store().GC(t.Context()))
		require.Zero(t, session.MemoryLen(a.m.Store()))
		require.Empty(t, a.errs.take())
	})
}

// A session in use is not collected at the edge of its life: a GC that runs at
// the moment its old life would have ended finds it extended.
func TestGCAtTheEdgeMemory(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			a := lifetimeApp(t, time.Minute, -1)
			store := a.m.Store()
			a.get("/set")
			cookie := a.cookie
			time.Sleep(time.Minute - 1)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					v := &app{t: t, Flame: a.Flame, cookie: cookie}
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
	store, ctx := a.m.Store(), context.Background()
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
