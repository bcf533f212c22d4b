package session_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// nullWriter is a response that nobody reads.
type nullWriter http.Header

func (w nullWriter) Header() http.Header         { return http.Header(w) }
func (w nullWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w nullWriter) WriteHeader(int)             {}

// costOf returns how many allocations and bytes a request costs.
func costOf(h http.Handler, path, cookie string) (allocs float64, bytes int64) {
	const runs = 201
	w, template := nullWriter{}, httptest.NewRequest(http.MethodGet, path, nil)
	lines := []string{cookie}
	request := func() {
		clear(w)
		r := *template // ours changes the header
		if cookie != "" {
			r.Header["Cookie"] = lines
		} else {
			delete(r.Header, "Cookie")
		}
		h.ServeHTTP(w, &r)
	}
	allocs = testing.AllocsPerRun(runs, request)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // as AllocsPerRun does
	all := make([]int64, runs)
	for i := range all {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		request()
		runtime.ReadMemStats(&after)
		all[i] = int64(after.TotalAlloc - before.TotalAlloc)
	}
	slices.Sort(all)
	return allocs, all[runs/2] // some requests fetch random bytes for many
}

// What a session in memory costs a request, beyond what Flamego allocates for itself. That its
// middleware and its handler have an argument is a part of what a session costs.
func TestRequestAllocations(t *testing.T) {
	plain := flamego.New()
	plain.Get("/", func() string { return "ok" })
	aloneAllocs, aloneBytes := costOf(plain, "/", "")

	a := newApp(t, session.Options{})
	a.Get("/login", func(s session.Session) string {
		s.Set("user_id", 123)
		s.Set("name", "alice")
		s.Set("admin", false)
		s.Set("csrf", "0123456789abcdef")
		s.Set("visits", int64(1000)) // more than the runtime has boxes of
		s.Set("seen", time.Now())
		return "ok"
	})
	a.Get("/set", func(s session.Session) string {
		n, _ := session.Value[int64](s, "visits")
		s.Set("visits", n+1)
		return "ok"
	})
	a.Get("/read", func(s session.Session) string { return s.Get("name").(string) })
	a.Get("/", func() string { return "ok" })
	a.get("/login")
	require.Equal(t, "alice", a.get("/read").Body.String())

	for _, test := range []struct {
		name, path, cookie string
		allocs             float64
		bytes              int64
	}{
		{"read", "/read", a.cookie, 5, 700},
		{"write", "/set", a.cookie, 9, 1200},
		{"untouched new visitor", "/", "", 7, 640},
	} {
		allocs, bytes := costOf(a, test.path, test.cookie)
		allocs, bytes = allocs-aloneAllocs, bytes-aloneBytes
		t.Logf("%s: %v allocations, %v bytes", test.name, allocs, bytes)
		require.LessOrEqual(t, allocs, test.allocs, test.name)
		require.LessOrEqual(t, bytes, test.bytes, test.name)
	}
}

// Services are mapped as values of the types that handlers ask for: package reflect
// takes longer to see that a value implements one than all the rest of a request.
func TestServicesHaveTheirTypes(t *testing.T) {
	a := newApp(t, session.Options{})
	a.Get("/", func(c flamego.Context) {
		for _, want := range []reflect.Type{
			reflect.TypeFor[session.Session](), reflect.TypeFor[session.Store](), reflect.TypeFor[session.Flash](),
			reflect.TypeFor[flamego.Context](), reflect.TypeFor[http.ResponseWriter](),
		} {
			if got := c.Value(want).Type(); got != want {
				t.Errorf("%v is mapped as a %v", want, got)
			}
		}
	})
	a.get("/")
}

// A record is decoded once when it is read, however much is asked of the session. It is
// decoded once more when it is written, if there are values that a handler may have
// changed in place: that is not to be stored.
func TestDecodedOnce(t *testing.T) {
	ctx := context.Background()
	decoded := 0
	decodes := func(want int) {
		t.Helper()
		require.Equal(t, want, decoded)
		decoded = 0
	}
	store := session.NewStore(mapbackend.New(), session.StoreConfig{Decoder: func(raw []byte) (session.Data, error) {
		decoded++
		return session.GobDecoder(raw)
	}})
	for name, extra := range map[string]interface{}{"list": []string{"a", "b"}, "number": 1} {
		sid := name
		data := session.Data{"name": "alice", "extra": extra}
		require.NoError(t, store.Save(ctx, session.NewBaseSessionWithData(sid, nil, nil, data)))
		decodes(0)

		s, err := store.Read(ctx, sid)
		require.NoError(t, err)
		require.Equal(t, "alice", s.Get("name"))
		require.Nil(t, s.Get("nobody"))
		require.Equal(t, extra, s.Get("extra"))
		require.False(t, s.HasChanged())
		decodes(1)

		for _, val := range []string{"bob", "carol"} {
			s.Set("name", val)
			require.NoError(t, store.Save(ctx, s))
			require.Equal(t, val, s.Get("name"))
			require.Equal(t, extra, s.Get("extra"))
			if name == "list" {
				decodes(1)
			} else {
				decodes(0)
			}
		}
	}
}

// What a session in memory takes, with all that belongs to it.
func TestMemoryPerSession(t *testing.T) {
	const n = 20_000
	ctx := context.Background()
	for name, test := range map[string]struct {
		data func(i int) session.Data
		most int64
	}{
		"empty": {func(int) session.Data { return nil }, 150},
		"six values": {func(i int) session.Data {
			return session.Data{
				"user_id": 100_000 + i, "name": fmt.Sprint("visitor ", i), "admin": i%2 == 0,
				"csrf": fmt.Sprintf("%016x", i), "visits": int64(1000 + i), "seen": time.Unix(int64(i), 0),
			}
		}, 450},
	} {
		t.Run(name, func(t *testing.T) {
			sids := make([]string, n)
			store := newMemoryStore(t, time.Hour)
			before := heap()
			for i := range sids {
				var err error
				sids[i], err = session.NewID(16)
				require.NoError(t, err)
				sid := (strings.Repeat(" ", 1000) + sids[i])[1000:] // a piece of a header
				require.NoError(t, store.Save(ctx, session.NewBaseSessionWithData(sid, nil, nil, test.data(i))))
			}
			each := (heap() - before) / n
			t.Log(each, "bytes")
			require.LessOrEqual(t, each, test.most)
			require.Equal(t, n, session.MemoryLen(store))
			for i, sid := range sids {
				require.NoError(t, store.Destroy(ctx, sid))
				if i%1000 == 0 {
					require.Equal(t, n-i-1, session.MemoryLen(store))
				}
			}
			require.Less(t, heap()-before, int64(1_000_000), "after the end of all")
			runtime.KeepAlive(store)
		})
	}
}

// A session of many values is kept as well as one of few.
func TestMemoryManyValues(t *testing.T) {
	ctx := context.Background()
	store := newMemoryStore(t, time.Hour)
	for n := range 20 {
		s, err := store.Read(ctx, "many")
		require.NoError(t, err)
		s.Set(n, n)
		require.NoError(t, store.Save(ctx, s))
	}
	for n := range 20 {
		require.Equal(t, n, get(t, store, "many", n))
	}
	s, err := store.Read(ctx, "many")
	require.NoError(t, err)
	for n := range 15 {
		s.Delete(n)
	}
	require.NoError(t, store.Save(ctx, s))
	require.Nil(t, get(t, store, "many", 14))
	require.Equal(t, 15, get(t, store, "many", 15))
}
