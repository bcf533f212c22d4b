package session_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

func newMemoryStore(t testing.TB, lifetime time.Duration) session.Store {
	t.Helper()
	return newApp(t, session.Options{Config: session.MemoryConfig{Lifetime: lifetime}}).Store()
}

// Values are kept as they are: a type that gob could not encode, and the very
// same pointer.
func TestMemoryKeepsLiveValues(t *testing.T) {
	type cart struct {
		items map[string]func() int
	}
	store := newMemoryStore(t, time.Hour)
	c := &cart{items: map[string]func() int{"a": func() int { return 1 }}}
	save(t, store, "abcdef", "cart", c)
	require.Same(t, c, get(t, store, "abcdef", "cart"))
}

func TestMemoryExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		store := newMemoryStore(t, time.Minute)
		save(t, store, "abcdef", "key", 1)
		for range 10 {
			time.Sleep(59 * time.Second)
			require.NoError(t, store.Touch(ctx, "abcdef"))
		}
		time.Sleep(time.Minute - 1)
		require.True(t, store.Exist(ctx, "abcdef"))
		time.Sleep(1)
		require.False(t, store.Exist(ctx, "abcdef"), "dead at the instant its lifetime ends")
		require.NoError(t, store.Touch(ctx, "abcdef"))
		require.False(t, store.Exist(ctx, "abcdef"), "the dead are not touched to life")
	})
}

// GC goes by the order of last access, and takes all that is dead.
func TestMemoryGC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		store := newMemoryStore(t, time.Minute)
		const n = 5000
		sid := func(i int) string { return fmt.Sprintf("session%d", i) }
		for i := range n {
			save(t, store, sid(i), "key", i)
		}
		time.Sleep(30 * time.Second)
		for i := 0; i < n; i += 2 {
			require.NoError(t, store.Touch(ctx, sid(i)))
		}
		time.Sleep(30 * time.Second)
		require.NoError(t, store.GC(ctx))
		for i := range n {
			require.Equal(t, i%2 == 0, store.Exist(ctx, sid(i)))
		}
		require.Equal(t, n/2, session.MemoryLen(store), "the dead take no memory after GC")
		time.Sleep(time.Minute)
		require.NoError(t, store.GC(ctx))
		require.Zero(t, session.MemoryLen(store))
	})
}

func TestMemoryGCEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore(t, time.Minute)
		for i := range 50_000 {
			save(t, store, fmt.Sprintf("session%d", i))
		}
		time.Sleep(time.Minute)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		require.ErrorIs(t, store.GC(ctx), context.Canceled)
	})
}

// Sessions move between shards, are destroyed and collected, all at once: no
// deadlock, and nothing is left.
func TestMemoryRenewBesideGCAndDestroy(t *testing.T) {
	ctx := context.Background()
	store := newMemoryStore(t, time.Hour)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				sid := fmt.Sprintf("session%d%d", g, i%4)
				save(t, store, sid, "key", i)
				s, err := store.Read(ctx, sid)
				require.NoError(t, err)
				require.NoError(t, s.RegenerateID(httptest.NewRecorder(), nil))
				require.NoError(t, store.Save(ctx, s))
				require.NoError(t, store.GC(ctx))
				require.False(t, store.Exist(ctx, sid))
				require.Equal(t, i, get(t, store, s.ID(), "key"))
				require.NoError(t, store.Destroy(ctx, s.ID()))
				require.NoError(t, store.Destroy(ctx, sid)) // what says that it was renewed
			}
		})
	}
	wg.Wait()
	require.Zero(t, session.MemoryLen(store))
}

// A session does not keep the header that its ID came in.
func TestMemoryKeepsNoHeader(t *testing.T) {
	const n, junk = 1000, 8 << 10
	a := newApp(t, session.Options{})
	set := func(s session.Session) string { s.Set("key", 1); return "ok" }
	a.Get("/", set)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	before := heap()
	for i := range n {
		cookie := ""
		for range 3 { // made, changed, given a new ID
			r.Header.Set("Cookie", cookie+"; junk="+strings.Repeat("x", junk)+strconv.Itoa(i))
			w := httptest.NewRecorder()
			a.ServeHTTP(w, r)
			if c := w.Header().Get("Set-Cookie"); c != "" {
				cookie, _, _ = strings.Cut(c, ";")
			}
		}
		r.Header.Set("Cookie", "flamego_session="+fmt.Sprintf("%016d", i)+"; junk="+strings.Repeat("x", junk)+strconv.Itoa(i))
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r) // an unknown ID
	}
	require.Less(t, (heap()-before)/n, int64(junk/4))
	runtime.KeepAlive(a)
}

// After RegenerateID nothing that happens to the old ID in memory touches the
// session, and nothing is left at its end.
func TestMemoryOldIDAfterRegenerateID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, session.Options{Config: session.MemoryConfig{Lifetime: time.Minute}, TouchInterval: -1})
		store, ctx := a.Store(), t.Context()
		a.Get("/set", func(s session.Session) { s.Set("key", 1) })
		a.Get("/renew", func(s session.Session, w http.ResponseWriter, r *http.Request) error { return s.RegenerateID(w, r) })
		for _, after := range []time.Duration{0, 30 * time.Second, time.Minute - 1} {
			a.cookie = ""
			a.get("/set")
			old := sidOf(a.cookie)
			stale, err := store.Read(ctx, old)
			require.NoError(t, err)
			time.Sleep(after)
			a.get("/renew")
			renewed := sidOf(a.cookie)
			require.NotEqual(t, old, renewed)
			require.Equal(t, 2, session.MemoryLen(store), "the session, and what says that it was renewed")

			time.Sleep(time.Minute - 1) // the old life is over
			require.NoError(t, store.GC(ctx))
			require.Equal(t, 1, session.MemoryLen(store))
			require.NoError(t, store.Touch(ctx, old))
			require.NoError(t, store.Destroy(ctx, old))
			stale.Set("key", "stale")
			require.NoError(t, store.Save(ctx, stale))
			require.False(t, store.Exist(ctx, old))
			require.Equal(t, 1, get(t, store, renewed, "key"))

			time.Sleep(1)
			require.False(t, store.Exist(ctx, renewed))
			require.NoError(t, store.Destroy(ctx, renewed))
			require.NoError(t, store.GC(ctx))
			require.Zero(t, session.MemoryLen(store))
		}
	})
}

// A session that was read under an ID which dies, and is renewed after that, in
// the order that once ended in a panic.
func TestMemoryRenewAfterExpiry(t *testing.T) {
	for name, end := range map[string]func(store session.Store, sid string) error{
		"expired":   func(session.Store, string) error { return nil },
		"collected": func(store session.Store, _ string) error { return store.GC(context.Background()) },
		"destroyed": func(store session.Store, sid string) error { return store.Destroy(context.Background(), sid) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newMemoryStore(t, time.Minute)
				save(t, store, "abcdef", "key", "old")
				s, err := store.Read(t.Context(), "abcdef")
				require.NoError(t, err)
				time.Sleep(time.Minute)
				require.NoError(t, end(store, "abcdef"))
				require.NoError(t, s.RegenerateID(httptest.NewRecorder(), nil))
				s.Set("mine", 1)
				require.NoError(t, store.Save(t.Context(), s))
				require.False(t, store.Exist(t.Context(), s.ID()), "what is gone stays so")
				require.False(t, store.Exist(t.Context(), "abcdef"))
				require.NoError(t, store.GC(t.Context()))
				time.Sleep(time.Minute)
				require.NoError(t, store.GC(t.Context()))
				require.Zero(t, session.MemoryLen(store))
			})
		})
	}
}
