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
	lossy  bool   // answers of the database get lost, so requests may fail

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
	failed  bool              // it was told that what it did may be in the store or not
	renewed bool              // it asked for a new ID
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
			if idle++; time.Duration(idle)*time.Millisecond > stuck {
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
		if f, ok := r.Context().Value(handlerKey{}).(handler); ok && f != nil {
			f(w, r, s, flash)
		}
		return "done"
	})
	return f
}

// handler is what app calls, if it is not nil.
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
