package storetest

import (
	"context"
	"fmt"
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

	"github.com/flamego/session/internal/history"
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
			playHistories(e, 1, 12, 100, func(h *historyPlay) { h.envs = []*env{e} })
		},
	},
	{
		name: "history/two stores",
		text: "The same holds for clients that are served by two stores on the same storage.",
		not:  []Trait{Private},
		check: func(e *env) {
			envs := []*env{e, e.another()}
			playHistories(e, 1001, 1012, 100, func(h *historyPlay) { h.envs = envs })
		},
	},
}

// playHistories plays and checks the histories of some seeds.
func playHistories(e *env, first, last uint64, size int, prepare func(*historyPlay)) {
	e.Helper()
	if seed, err := strconv.ParseUint(os.Getenv(seedVariable), 10, 64); err == nil {
		first, last = seed, seed
	}
	for i := range rounds(int(last-first+1), patience) {
		seed := first + uint64(i)
		h := &historyPlay{seed: seed, size: size}
		prepare(h)
		h.play()
		if problem := h.problem(); problem != "" {
			e.Errorf("seed %d (replay with %s=%d): %s", seed, seedVariable, seed, problem)
			return
		}
	}
}

// historyPlay is what some clients do to one session, and what they see. It draws
// everything from its seed.
type historyPlay struct {
	seed   uint64
	size   int    // how many operations there are at most
	envs   []*env // the stores that serve the clients
	expire func(sid string)
	settle func() // gives them a millisecond, for clients that may have to wait for each other's turns
	lossy  bool   // answers of the database get lost, so requests may fail

	clock  atomic.Int64
	parked chan *historyClient

	mu       sync.Mutex
	steps    []*history.Step
	ids      []string // all that were ever in use
	jar      string   // the ID that the browser has
	failures []string
}

// firstID and neighbour are the sessions that the history begins with: that of
// the clients, and one of somebody else with nearly the same ID.
func (h *historyPlay) firstID() string   { return fmt.Sprintf("history%08d1", h.seed) }
func (h *historyPlay) neighbour() string { return fmt.Sprintf("history%08d2", h.seed) }

// play lets the clients do their work, one after the other or at once as chance
// will have it, and then looks at every session that there ever was.
func (h *historyPlay) play() {
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
func (h *historyPlay) schedule(rng *rand.Rand, alive int) bool {
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
func (e *env) app() *flamego.Flame { return history.NewApp(e.m) }

// clientKey is in the context of every operation: the client.
type clientKey struct{}

// serve has app serve a request with a handler.
func serve(ctx context.Context, app http.Handler, sid string, f history.Handler) *httptest.ResponseRecorder {
	return history.Serve(ctx, app, sid, f)
}

func (h *historyPlay) tick() int64 { return h.clock.Add(1) }

func (h *historyPlay) failf(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures = append(h.failures, fmt.Sprintf(format, args...))
}

// problem checks the history and returns what is wrong with it, with the steps
// that show it, or nothing.
func (h *historyPlay) problem() string {
	if len(h.failures) > 0 {
		return h.failures[0]
	}
	return history.Check(h.steps)
}

// record adds a finished step, and the ID that it left behind.
func (h *historyPlay) record(s *history.Step) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Calm = !h.lossy
	h.steps = append(h.steps, s)
	if s.ID != "" && !slices.Contains(h.ids, s.ID) {
		h.ids = append(h.ids, s.ID)
	}
}
