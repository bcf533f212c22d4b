package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/internal/testing/webapp"
	"github.com/flamego/session/redis"
)

// hostileRequests is how many requests a subject has to stand in the full form: 1 million in all.
var hostileRequests = map[string]int{
	"memory": 300_000, "backend": 100_000, "file": 200_000, "sqlite": 150_000, "redis": 120_000, "postgres": 60_000, "mysql": 50_000, "mongo": 20_000,
}

// mostLookUps is how many of the IDs in a request are looked up at most.
const mostLookUps = 4

// variant is one of the options that change which IDs are read and what becomes of them.
type variant struct {
	name    string
	cookie  string // its name
	adopts  bool
	options func(*session.Options)
}

var hostileVariants = []variant{
	{"default", cookieName, false, func(*session.Options) {}},
	{"AdoptUnknownIDs", cookieName, true, func(o *session.Options) { o.AdoptUnknownIDs = true }},
	{"ReadIDFunc", cookieName, false, func(o *session.Options) {
		o.ReadIDFunc = func(r *http.Request) string {
			line := r.Header.Get("Cookie")
			return line[strings.IndexByte(line, '=')+1:] // whatever it is
		}
	}},
	{"__Host-", "__Host-s", false, func(o *session.Options) { o.Cookie.Name, o.Cookie.Secure = "__Host-s", true }},
	{"SameSite=None", "__Secure-s", false, func(o *session.Options) {
		o.Cookie = session.CookieOptions{Name: "__Secure-s", Secure: true, SameSite: http.SameSiteNoneMode, Partitioned: true, MaxAge: 3600}
		o.TouchInterval = -1
	}},
}

// TestHostileClient has strangers send everything that a client can send in place of a session ID.
// They get their pages, and an ID that is none of theirs. Nothing is stored for them, no more than
// four of their IDs are looked up, and they leave nothing in memory. Visitors with a session go on
// meanwhile. It rests on the form of an ID, which is checked before the store is asked.
func TestHostileClient(t *testing.T) {
	t.Run("backend", func(t *testing.T) { // which counts the calls of a store with a backend
		var calls atomic.Int64
		hostile(t, "backend", func(testing.TB) target {
			b := mapbackend.New()
			b.Before = func(context.Context, string, string) error { calls.Add(1); return nil }
			open := func(context.Context, struct{}) (session.Backend, session.StoreConfig, error) {
				return b, session.StoreConfig{}, nil
			}
			return target{
				opts:  session.Options{Initer: session.NewIniter(open), Config: struct{}{}},
				calls: calls.Load,
				count: func(testing.TB) int { b.Mu.Lock(); defer b.Mu.Unlock(); return len(b.Records) },
			}
		})
	})
	each(t, func(subject) bool { return true }, func(t *testing.T, s subject) {
		hostile(t, s.name, func(t testing.TB) target {
			place, server := s.place(t), ""
			through := ""
			var calls func() int64
			if s.remote() {
				server = s.server(t)
				_, hostPort := s.through(t, server, "")
				p := tcpproxy.New(t, hostPort, tcpproxy.Rules{Skip: isHello})
				through, _ = s.through(t, server, p.Addr())
				calls = func() int64 { return int64(p.Trips()) }
			}
			return target{
				opts: s.at(place, through), calls: calls,
				count: func(t testing.TB) int { return s.count(t, place, server) },
			}
		})
		if s.name == "redis" {
			t.Run("NoKeyPrefix", func(t *testing.T) { hostileBesideKeysOfTheApp(t) })
		}
	})
}

// target is what hostile clients visit.
type target struct {
	opts  session.Options
	calls func() int64           // of the backend or the server so far; nil if nobody counts
	count func(t testing.TB) int // of records; -1 if there is no way to count
}

// hostile runs all variants against a subject.
func hostile(t *testing.T, name string, open func(testing.TB) target) {
	n := rounds(4000, hostileRequests[name]) / len(hostileVariants)
	for _, v := range hostileVariants {
		t.Run(v.name, func(t *testing.T) {
			to := open(t)
			v.options(&to.opts)
			attack(t, to, v, n)
		})
	}
}

// attack makes so many hostile requests.
func attack(t *testing.T, to target, v variant, n int) {
	a := newApp(t, to.opts)
	person := func(paths ...string) *webapp.Browser {
		b := webapp.NewBrowser(t, a)
		for _, path := range paths {
			require.Equal(t, http.StatusOK, b.Get(path).Code)
		}
		return b
	}
	idOf := func(b *webapp.Browser) string { _, id, _ := strings.Cut(b.Cookie, "="); return id }
	c := &hostileClient{variant: v, app: a}
	kept := make(map[string]*webapp.Browser)
	for i := range 8 {
		val := strconv.Itoa(i)
		kept[val] = person("/set?a=" + val)
		ended, renewed := person("/set?a=x"), person("/set?a=x")
		c.dead = append(c.dead, idOf(ended), idOf(renewed))
		require.Equal(t, http.StatusOK, ended.Get("/logout").Code)
		require.Equal(t, http.StatusOK, renewed.Get("/renew").Code)
	}
	busy := person("/add?n")
	before := to.count(t)

	c.many(t, n/5) // which fills pools and tables
	heapBefore, routines := heapInUse(), runtime.NumGoroutine()
	stop, added := make(chan struct{}), make(chan int)
	go func() {
		additions := 1
		for {
			select {
			case <-stop:
				added <- additions
				return
			default:
			}
			if busy.Get("/add?n").Code == http.StatusOK {
				additions++
			}
		}
	}()
	c.many(t, n-n/5)
	close(stop)
	additions := <-added
	grown := heapInUse() - heapBefore
	require.Empty(t, a.TakeErrors())
	require.LessOrEqual(t, grown, int64(3<<20), "memory grows")
	// A pool may have more connections than before, one for each worker. Each of them costs a goroutine
	// of the driver and two of the proxy.
	require.LessOrEqual(t, runtime.NumGoroutine(), routines+32)

	// Whoever had a session has it still, and nobody else has one.
	require.JSONEq(t, fmt.Sprintf(`{"n":%d}`, additions), busy.Get("/get").Body.String())
	for val, b := range kept {
		require.JSONEq(t, fmt.Sprintf(`{"a":%q}`, val), b.Get("/get").Body.String())
	}
	after := to.count(t)
	require.LessOrEqual(t, after, before, "something is stored")
	for _, id := range append(c.dead, c.seen...) {
		require.False(t, a.Store().Exist(t.Context(), id), "a session of a stranger")
	}

	perRequest := "not counted"
	if to.calls != nil {
		const sample = 200
		begun := to.calls()
		for range sample { // all with more IDs than are looked up
			c.once(t, rand.New(rand.NewPCG(1, rand.Uint64())), manyIDs)
		}
		mean := float64(to.calls()-begun) / sample
		most := mostLookUps + 0.2 // a connection may be made
		if v.adopts {
			most++ // the ID is the visitor's: a renewal looks once more, and a logout deletes
		}
		require.LessOrEqual(t, mean, most)
		perRequest = fmt.Sprintf("%.1f", mean)
	}
	records := fmt.Sprintf("%d records before and %d after", before, after)
	if before < 0 {
		records = fmt.Sprintf("%d IDs looked up afterwards", len(c.seen))
	}
	figure(t, "%d requests, %s, calls per request with 50 IDs: %s, heap %+d kB", n, records, perRequest, grown>>10)
	if v.name == hostileVariants[0].name || full() {
		c.byNetwork(t)
	}
	require.Empty(t, a.TakeErrors())
}

// heapInUse returns the bytes that are in use after a collection.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // what pools keep survives one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// hostileClient makes requests, each of another kind.
type hostileClient struct {
	variant
	app  *app
	dead []string // IDs of sessions that have ended or were renewed

	mu   sync.Mutex
	seen []string // some of the IDs that it has sent and got
}

// many makes so many requests, some at a time.
func (c *hostileClient) many(t *testing.T, n int) {
	const workers = 8
	var wg sync.WaitGroup
	for w := range workers {
		rng := rand.New(rand.NewPCG(uint64(w), rand.Uint64()))
		wg.Go(func() {
			for range n / workers {
				c.once(t, rng, rng.IntN(len(hostileKinds)))
			}
		})
	}
	wg.Wait()
}

// once makes a request of a kind.
func (c *hostileClient) once(t *testing.T, rng *rand.Rand, kind int) {
	lines := hostileKinds[kind](c, rng)
	r := httptest.NewRequest(http.MethodGet, [...]string{"/get", "/get", "/get", "/renew", "/logout"}[rng.IntN(5)], nil)
	r.Header["Cookie"] = lines
	w := httptest.NewRecorder()
	c.app.ServeHTTP(w, r)
	set := w.Header()["Set-Cookie"]
	if w.Code != http.StatusOK || len(set) > 1 {
		t.Errorf("status %d, %q", w.Code, set)
	}
	for _, line := range set {
		_, id, _ := strings.Cut(line, "=")
		id, _, _ = strings.Cut(id, ";")
		for _, sent := range lines {
			if id != "" && strings.Contains(sent, id) && !c.adopts {
				t.Errorf("the client has chosen its ID")
			}
		}
		if c.note(rng) {
			c.mu.Lock()
			c.seen = append(c.seen, id)
			c.mu.Unlock()
		}
	}
}

// note reports whether an ID is one of the sample.
func (c *hostileClient) note(rng *rand.Rand) bool { return rng.IntN(50) == 0 }

// hostileBesideKeysOfTheApp has sessions without a prefix beside keys of the app, in a server of
// their own. Whatever IDs come, the keys of the app stay.
func hostileBesideKeysOfTheApp(t *testing.T) {
	server := testserver.StartRedis(t)
	keys := map[string]string{"aaaaaaaaaaaaaaaa": "text", "bbbbbbbbbbbbbbbb": "", "counter": "7"}
	for key, val := range keys {
		server.MustDo(t, "SET", key, val)
	}
	server.MustDo(t, "RPUSH", "cccccccccccccccc", "x")
	v := hostileVariants[0]
	opts := session.Options{Initer: redis.Initer(), Config: redis.Config{Options: &redis.Options{Addr: server.Addr}, NoKeyPrefix: true}}
	count := func(t testing.TB) int {
		n, err := strconv.Atoi(server.MustDo(t, "DBSIZE"))
		require.NoError(t, err)
		return n
	}
	attack(t, target{opts: opts, count: count}, v, rounds(800, 20_000))
	a := newApp(t, opts)
	for _, id := range []string{"aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc", "counter"} {
		for _, path := range []string{"/get", "/set?a=1", "/renew", "/logout"} {
			a.with(t, id).visit(path)
		}
	}
	for key, val := range keys {
		require.Equal(t, val, server.MustDo(t, "GET", key))
	}
	require.Equal(t, "1", server.MustDo(t, "LLEN", "cccccccccccccccc"))
}
