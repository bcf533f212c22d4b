package storetest

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flamego/flamego"
	"github.com/flamego/session"
)

// seedVariable names the environment variable that makes the rules "history/..."
// play the one history of a seed that has failed:
//
//	STORETEST_SEED=17 go test -race -run 'Conformance/history' .
//
// (The tests of this package replay a seed of theirs in the same way.)
//
// What the clients do and how their handlers overlap is the same for the same
// seed. How the store serves those that it is asked to serve at once is not.
const seedVariable = "STORETEST_SEED"

var historyRules = []rule{
	{
		name: "history/one store",
		text: "Whatever several clients do to one session at the same time, I1 what was committed is read, I2 what has ended stays dead, I3 sessions are apart, I7 nobody changes what is not his, and a flash is seen once.",
		check: func(e *env) {
			playHistories(e, 1, 12, 100, func(h *history) { h.envs = []*env{e} })
		},
	},
	{
		name: "history/two stores",
		text: "The same holds for clients that are served by two stores on the same storage.",
		not:  []Trait{Private},
		check: func(e *env) {
			envs := []*env{e, e.another()}
			playHistories(e, 1001, 1012, 100, func(h *history) { h.envs = envs })
		},
	},
}

// playHistories plays and checks the histories of some seeds.
func playHistories(e *env, first, last uint64, size int, prepare func(*history)) {
	e.Helper()
	if seed, err := strconv.ParseUint(os.Getenv(seedVariable), 10, 64); err == nil {
		first, last = seed, seed
	}
	for i := range rounds(int(last-first+1), patience) {
		seed := first + uint64(i)
		h := &history{seed: seed, size: size}
		prepare(h)
		h.play()
		if problem := h.problem(); problem != "" {
			e.Errorf("seed %d (replay with %s=%d): %s", seed, seedVariable, seed, problem)
			return
		}
	}
}

// flashKey stands among the keys of a history for the flash.
const flashKey = "flash"

// historyKeys are the keys of a history. Nobody deletes the root, so that a
// session in which nothing is seen is most probably not there.
var historyKeys = []string{"root", "a", "b", "c", "d"}

// history is what some clients do to one session, and what they see. It draws
// everything from its seed.
type history struct {
	seed   uint64
	size   int    // how many operations there are at most
	envs   []*env // the stores that serve the clients
	expire func(sid string)
	settle func() // gives them a millisecond, for clients that may have to wait for each other's turns

	clock  atomic.Int64
	parked chan *historyClient

	mu       sync.Mutex
	steps    []*step
	ids      []string // all that were ever in use
	jar      string   // the ID that the browser has
	failures []string
}

// step is one request, one read and save by hand, or one call of the store, with
// the times between which it had its effects: it read between begin and read,
// and committed between commit and end.
type step struct {
	client, n                int
	kind                     string
	sent, id                 string // the ID it came with, and the one it left the data under
	begin, read, commit, end int64
	did                      []string

	seen    map[string]string // what it read, without the keys that were absent
	flushed bool
	keys    map[string]string // what it set, empty for a key that it deleted
	ended   bool              // it ended the session
	dropped bool              // it was told that its session is gone
	saved   bool              // what it did is in the store, for sure
}

// empty reports whether the session may not have been there when it was read.
func (s *step) empty() bool { return len(s.seen) == 0 }

// effect returns what the step made of a key, if anything.
func (s *step) effect(key string) (val string, ok bool) {
	val, ok = s.keys[key]
	return val, ok || s.flushed
}

// firstID and neighbour are the sessions that the history begins with: that of
// the clients, and one of somebody else with nearly the same ID.
func (h *history) firstID() string   { return fmt.Sprintf("history%08d1", h.seed) }
func (h *history) neighbour() string { return fmt.Sprintf("history%08d2", h.seed) }

// play lets the clients do their work, one after the other or at once as chance
// will have it, and then looks at every session that there ever was.
func (h *history) play() {
	rng := rand.New(rand.NewPCG(h.seed, 0))
	apps := make([]*flamego.Flame, len(h.envs))
	for i, e := range h.envs {
		apps[i] = e.app()
	}
	setUp := &historyClient{h: h, rng: rng, app: apps[0], store: h.envs[0].store, alone: true}
	for _, sid := range []string{h.neighbour(), h.firstID()}[:1+rng.IntN(2)] {
		setUp.save(sid, true)
		h.jar = sid
	}
	if h.jar == h.neighbour() {
		// The other way to begin: an ID under which there is nothing yet.
		h.jar = ""
		if cookie := setUp.request("", nil); cookie != nil {
			h.jar = cookie.Value
		}
	}

	n := 3 + rng.IntN(6)
	h.parked = make(chan *historyClient, n)
	clients := make([]*historyClient, n)
	size := 20 + rng.IntN(h.size-19)
	for i := range clients {
		by := i % len(h.envs)
		c := &historyClient{
			h: h, name: i + 1, rng: rand.New(rand.NewPCG(h.seed, uint64(i+1))),
			app: apps[by], store: h.envs[by].store,
			left: size / n, turn: make(chan struct{}),
		}
		clients[i] = c
		go c.work()
	}
	if !h.schedule(rng, n) {
		h.failf("a client still waits after %v, while the others are in their handlers", stuck)
		return
	}

	for _, sid := range slices.Clone(h.ids) {
		setUp.request(sid, nil)
	}
}

// stuck is how long a client may take to its next turn.
const stuck = 30 * time.Second

// schedule gives the clients their turns, until all have done their work: to
// one, or to some at once. It reports false if one of them waits for something
// that does not come, as for the handler of another.
func (h *history) schedule(rng *rand.Rand, alive int) bool {
	var waiting []*historyClient
	park := func(c *historyClient) {
		if c.over {
			alive--
		} else {
			waiting = append(waiting, c)
		}
	}
	for running := alive; alive > 0; {
		idle := 0
		for ; h.settle == nil && running > 0; running-- {
			select {
			case c := <-h.parked:
				park(c)
			case <-time.After(stuck):
				return false
			}
		}
		for h.settle != nil && (idle == 0 || len(waiting) == 0 && alive > 0) {
			if idle++; idle*int(time.Millisecond) > int(stuck) {
				return false
			}
			h.settle()
			for len(h.parked) > 0 {
				park(<-h.parked)
			}
		}
		slices.SortFunc(waiting, func(a, b *historyClient) int { return a.name - b.name })
		rng.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
		if running = min(1, len(waiting)); running > 0 && rng.IntN(2) == 0 {
			running += rng.IntN(len(waiting))
		}
		for _, c := range waiting[:running] {
			c.turn <- struct{}{}
		}
		waiting = waiting[running:]
	}
	return true
}

// app is a Flamego whose only handler is the one in the context of the request.
func (e *env) app() *flamego.Flame {
	f := flamego.NewWithLogger(io.Discard)
	f.Use(e.m.Handler())
	f.Get("/", func(r *http.Request, w http.ResponseWriter, s session.Session, flash session.Flash) string {
		if f, ok := r.Context().Value(handlerKey{}).(handler); ok {
			f(w, r, s, flash)
		}
		return "done"
	})
	return f
}

// handler is what app calls.
type handler func(http.ResponseWriter, *http.Request, session.Session, session.Flash)

type (
	handlerKey struct{} // in the context of a request: its handler
	clientKey  struct{} // in the context of every operation: the client
)

// serve has app serve a request with a handler.
func serve(ctx context.Context, app http.Handler, sid string, f handler) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r = r.WithContext(context.WithValue(ctx, handlerKey{}, f))
	if sid != "" {
		r.AddCookie(&http.Cookie{Name: "flamego_session", Value: sid})
	}
	w := httptest.NewRecorder()
	app.ServeHTTP(w, r)
	return w
}

func (h *history) tick() int64 { return h.clock.Add(1) }

func (h *history) failf(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures = append(h.failures, fmt.Sprintf(format, args...))
}

// record adds a finished step, and the ID that it left behind.
func (h *history) record(s *step) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.steps = append(h.steps, s)
	if s.id != "" && !slices.Contains(h.ids, s.id) {
		h.ids = append(h.ids, s.id)
	}
}

// historyClient is one of those who use the session.
type historyClient struct {
	h     *history
	name  int
	rng   *rand.Rand
	app   *flamego.Flame
	store session.Store
	alone bool // it waits for nobody
	over  bool
	left  int // how many operations it may still do
	n     int
	turn  chan struct{}
}

// pause waits for the next turn.
func (c *historyClient) pause() {
	if !c.alone {
		c.h.parked <- c
		<-c.turn
	}
}

func (c *historyClient) work() {
	for c.left > 0 {
		c.pause()
		switch n := c.rng.IntN(100); {
		case n < 3:
			c.call("Store.Destroy", true, c.store.Destroy)
		case n < 6:
			c.call("Store.Touch", false, c.store.Touch)
		case n < 7:
			c.call("Store.GC", false, func(ctx context.Context, _ string) error { return c.store.GC(ctx) })
		case n < 10 && c.h.expire != nil:
			c.call("expiry", true, func(_ context.Context, sid string) error { c.h.expire(sid); return nil })
		case n < 25:
			c.save(c.pick(), false)
		default:
			c.visit()
		}
	}
	c.over = true
	c.h.parked <- c
}

// pick chooses the ID of a step: mostly that of the browser, which is none after
// a logout, sometimes another, which is mostly dead.
func (c *historyClient) pick() string {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	n := c.rng.IntN(100)
	i := c.rng.IntN(len(c.h.ids))
	switch {
	case n < 75:
		return c.h.jar
	case n < 83:
		return c.h.neighbour()
	default:
		return c.h.ids[i]
	}
}

// step begins a step.
func (c *historyClient) step(kind, sid string) *step {
	c.n++
	return &step{
		client: c.name, n: c.n, kind: kind, sent: sid, begin: c.h.tick(),
		seen: make(map[string]string), keys: make(map[string]string),
	}
}

func (c *historyClient) context() context.Context {
	return context.WithValue(context.Background(), clientKey{}, c)
}

// call is one operation of the store on one session.
func (c *historyClient) call(kind string, ends bool, f func(context.Context, string) error) {
	c.left--
	sid := c.pick()
	if sid == "" {
		return
	}
	s := c.step(kind, sid)
	s.id, s.ended = sid, ends
	s.read, s.commit = s.begin, s.begin
	if err := f(c.context(), sid); err != nil {
		c.h.failf("%s: %v", kind, err)
	}
	s.end = c.h.tick()
	c.h.record(s)
}

// save reads a session and saves it, by hand. One that is not there is left so,
// but for those that the history begins with: to create is the middleware's.
func (c *historyClient) save(sid string, create bool) {
	if sid == "" {
		c.left--
		return
	}
	s := c.step("read and save", sid)
	sess, err := c.store.Read(c.context(), sid)
	if err != nil {
		c.h.failf("Read: %v", err)
		c.left--
		return
	}
	c.look(s, sess)
	s.id, s.commit, s.end = sid, s.read, s.read
	if create {
		c.set(s, sess, "root")
	} else {
		c.act(s, nil, nil, sess, 1+c.rng.IntN(2))
	}
	if create || !s.empty() {
		c.pause()
		s.commit = c.h.tick()
		if err := c.store.Save(c.context(), sess); err != nil {
			c.h.failf("Save: %v", err)
		}
		s.end = c.h.tick()
		// A session whose record had vanished has nothing any more.
		for key, val := range s.keys {
			s.saved = s.saved || val != "" && key != flashKey && sess.Get(key) == val
			s.dropped = s.dropped || val != "" && key != flashKey && sess.Get(key) == nil
		}
	} else {
		s.flushed, s.keys, s.did = false, nil, nil
	}
	c.h.record(s)
}

// visit makes a request.
func (c *historyClient) visit() {
	sid := c.pick()
	c.h.mu.Lock()
	inJar := sid == c.h.jar
	c.h.mu.Unlock()
	cookie := c.request(sid, func(s *step, w http.ResponseWriter, r *http.Request, sess session.Session) {
		if sid == "" && c.rng.IntN(3) > 0 {
			c.set(s, sess, "root")
		}
		c.act(s, w, r, sess, c.rng.IntN(4))
	})
	if !inJar || cookie == nil {
		return
	}
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if cookie.MaxAge >= 0 {
		c.h.jar = cookie.Value
	} else if c.h.jar == sid {
		c.h.jar = ""
	}
}

// request makes a request whose handler calls f, and returns the cookie that it
// was answered with.
func (c *historyClient) request(sid string, f func(*step, http.ResponseWriter, *http.Request, session.Session)) *http.Cookie {
	c.left--
	s := c.step("request", sid)
	something := false // something is in the session at the end
	w := serve(c.context(), c.app, sid, func(w http.ResponseWriter, r *http.Request, sess session.Session, flash session.Flash) {
		if flash != nil {
			s.seen[flashKey] = fmt.Sprint(flash)
		}
		c.look(s, sess)
		if f != nil {
			f(s, w, r, sess)
			c.pause()
		}
		for _, key := range append(historyKeys, flashKey) {
			val, ok := s.effect(key)
			if !ok && key != flashKey {
				val = s.seen[key]
			}
			something = something || val != ""
			if key == flashKey || s.ended {
				continue
			}
			if got, _ := sess.Get(key).(string); got != val {
				c.h.failf("I7 is broken: client %d, step %d had %s = %q, and now has %q", c.name, s.n, key, val, got)
			}
		}
		s.commit = c.h.tick()
	})
	s.end = c.h.tick()
	if w.Code != http.StatusOK {
		c.h.failf("client %d, step %d: status %d", c.name, s.n, w.Code)
		return nil
	}

	s.id = sid
	var cookie *http.Cookie
	for _, cookie = range w.Result().Cookies() {
		if s.dropped = cookie.MaxAge < 0 && !s.ended; cookie.MaxAge >= 0 {
			s.id = cookie.Value
		}
	}
	if s.ended || s.dropped {
		s.id = sid
	}
	s.saved = !s.ended && !s.dropped && (something || !s.empty())
	c.h.record(s)
	return cookie
}

// look notes what a session holds.
func (c *historyClient) look(s *step, sess session.Session) {
	for _, key := range historyKeys {
		if val := sess.Get(key); val != nil {
			s.seen[key] = fmt.Sprint(val)
		}
	}
	s.read = c.h.tick()
}

// act changes a session n times; without a writer it stays under its ID.
func (c *historyClient) act(s *step, w http.ResponseWriter, r *http.Request, sess session.Session, n int) {
	for range n {
		c.left--
		c.pause()
		key := historyKeys[c.rng.IntN(len(historyKeys))]
		switch n := c.rng.IntN(100); {
		case n < 4 && w != nil:
			c.check(session.Destroy(w, r, sess))
			s.ended, s.flushed, s.keys = true, false, make(map[string]string)
			s.did = append(s.did, "destroy")
		case n < 12 && w != nil:
			// It is refused for a session that is gone, which is as it should be.
			if err := sess.RegenerateID(w, r); err == nil {
				s.did = append(s.did, "regenerate")
			}
		case n < 17:
			sess.Flush()
			s.flushed, s.keys = !s.ended, make(map[string]string)
			s.did = append(s.did, "flush")
			c.set(s, sess, "root")
		case n < 30:
			val := c.value(s, flashKey)
			sess.SetFlash(val)
			c.note(s, flashKey, val)
		case n < 45 && key != "root":
			sess.Delete(key)
			c.note(s, key, "")
		default:
			c.set(s, sess, key)
		}
	}
}

func (c *historyClient) check(err error) {
	if err != nil {
		c.h.failf("client %d: %v", c.name, err)
	}
}

// value returns a value that is written here and nowhere else.
func (c *historyClient) value(s *step, key string) string {
	return fmt.Sprintf("%s%d.%d.%d", key, c.name, s.n, len(s.did))
}

func (c *historyClient) set(s *step, sess session.Session, key string) {
	val := c.value(s, key)
	sess.Set(key, val)
	c.note(s, key, val)
}

// note writes down a change; after the end of a session none counts.
func (c *historyClient) note(s *step, key, val string) {
	s.did = append(s.did, strings.TrimSuffix("set "+key+" = "+val, " = "))
	if !s.ended {
		s.keys[key] = val
	}
}
