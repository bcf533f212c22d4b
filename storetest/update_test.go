package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// TestCountersWithLostAnswers has clients count in one session, whose ID changes now and then,
// on a backend that loses answers to writes. What was answered with success counts once, and
// what was answered with an error at most once.
func TestCountersWithLostAnswers(t *testing.T) {
	var total counters
	t.Run("", func(t *testing.T) {
		playMany(t, 0, func(t *testing.T, seed uint64, _ int) {
			synctest.Test(t, func(t *testing.T) {
				c := playCounters(t, seed, func(b *mapbackend.Backend, rng *rand.Rand) session.Backend {
					return losesLoads{&losesAnswers{Backend: b, rng: rng}}
				})
				if problem := c.problem(); problem != "" {
					t.Errorf("seed %d: %s", seed, problem)
				}
				total.sure.Add(c.sure.Load())
				total.doubtful.Add(c.doubtful.Load())
				total.again.Add(c.again.Load())
			})
		})
	})
	t.Logf("counted for sure: %d, perhaps: %d; saved by hand after an error: %d", total.sure.Load(), total.doubtful.Load(), total.again.Load())
	if total.sure.Load() == 0 || total.doubtful.Load() == 0 || total.again.Load() == 0 {
		t.Error("there is a case that has not happened")
	}
}

// losesLoads loses some answers to loads, too: then an earlier write stays in doubt.
type losesLoads struct{ *losesAnswers }

func (b losesLoads) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	b.mu.Lock()
	n := b.rng.IntN(8)
	b.mu.Unlock()
	if n == 0 {
		return session.Record{}, false, errLost
	}
	return b.losesAnswers.Load(ctx, sid)
}

// TestCountersCatchDefects: counts that are lost, or counted twice, are seen.
func TestCountersCatchDefects(t *testing.T) {
	for name, defect := range map[string]func(*mapbackend.Backend, *rand.Rand) session.Backend{
		"repeats writes": func(b *mapbackend.Backend, rng *rand.Rand) session.Backend {
			return repeats{&losesAnswers{Backend: b, rng: rng}}
		},
		"swaps blindly": func(b *mapbackend.Backend, _ *rand.Rand) session.Backend { return swapsBlindly{b} },
		"says that it was written": func(b *mapbackend.Backend, _ *rand.Rand) session.Backend {
			return neverConflicts{b}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= 200; seed++ {
				problem := ""
				synctest.Test(t, func(t *testing.T) { problem = playCounters(t, seed, defect).problem() })
				if problem != "" {
					t.Logf("seed %d: %s", seed, problem)
					return
				}
			}
			t.Error("no seed shows the defect")
		})
	}
}

// counters is what some clients have counted in one session.
type counters struct {
	sure, doubtful atomic.Int64
	again          atomic.Int64 // saves that succeeded after one that had failed
	found          []int        // in the sessions that there are in the end
	hung           bool
}

func (c *counters) problem() string {
	least, most := int(c.sure.Load()), int(c.sure.Load()+c.doubtful.Load())
	switch {
	case c.hung:
		return "a client waits for ever"
	case len(c.found) != 1:
		return fmt.Sprintf("there are %d sessions", len(c.found))
	case c.found[0] < least || c.found[0] > most:
		return fmt.Sprintf("the session has counted to %d, want %d to %d", c.found[0], least, most)
	}
	return ""
}

// counting is one client that counts.
type counting struct {
	*historyClient
	all     *counters
	current *atomic.Value // the ID of the session
}

func playCounters(t *testing.T, seed uint64, lossy func(*mapbackend.Backend, *rand.Rand) session.Backend) *counters {
	b := mapbackend.New()
	sound := newEnv(t, func(_ testing.TB, lifetime time.Duration) session.Options { return openOn(b, lifetime) }, long)
	e := newEnv(t, func(_ testing.TB, lifetime time.Duration) session.Options {
		return openOn(stepwise{lossy(b, rand.New(rand.NewPCG(seed, 99)))}, lifetime)
	}, long)
	envs := []*env{e, e.another()}[:1+seed%2]
	var current atomic.Value
	current.Store("counter1")
	sound.set("counter1", "user", 123)

	rng := rand.New(rand.NewPCG(seed, 0))
	n := 2 + rng.IntN(5)
	h := &historyPlay{seed: seed, settle: settle, parked: make(chan *historyClient, n)}
	all := &counters{}
	for i := range n {
		by := envs[i%len(envs)]
		c := &counting{&historyClient{
			h: h, name: i + 1, rng: rand.New(rand.NewPCG(seed, uint64(i+1))), app: by.app(), store: by.store,
			left: 3 + rng.IntN(8), turn: make(chan struct{}),
		}, all, &current}
		go c.work()
	}
	all.hung = !h.schedule(rng, n)
	var sids []string
	b.Mu.Lock()
	for sid := range b.Records {
		sids = append(sids, sid)
	}
	b.Mu.Unlock()
	for _, sid := range sids {
		if s := sound.read(sid); s.Get("user") == 123 {
			found, _ := session.Value[int](s, "n")
			all.found = append(all.found, found)
		}
	}
	return all
}

func (c *counting) work() {
	for ; c.left > 0; c.left-- {
		c.pause()
		if sid := c.current.Load().(string); c.rng.IntN(3) > 0 {
			c.visit(sid)
		} else {
			c.save(sid)
		}
	}
	c.over = true
	c.h.parked <- c.historyClient
}

// act counts, and changes another key or not.
func (c *counting) act(s session.Session) {
	increment(s)
	if c.rng.IntN(3) == 0 {
		s.Set("other", c.rng.IntN(3))
	}
}

// counts notes what became of so many counts.
func (c *counting) counts(n int, s session.Session, failed bool) {
	switch {
	case failed:
		c.all.doubtful.Add(int64(n))
	case !s.HasChanged() && s.Get("user") != nil: // else the session has another ID by now
		c.all.sure.Add(int64(n))
	}
}

func (c *counting) visit(sid string) {
	var sess session.Session
	n, renews := 0, c.rng.IntN(10) == 0
	w := serve(c.context(), c.app, sid, func(w http.ResponseWriter, r *http.Request, s session.Session, _ session.Flash) {
		if s.Get("user") == nil {
			return
		}
		sess = s
		for range 1 + c.rng.IntN(2) {
			c.pause()
			c.act(s)
			n++
		}
		if renews {
			renew(s, w, r)
		}
	})
	if sess == nil {
		return
	}
	c.counts(n, sess, w.Code != http.StatusOK)
	if cookies := w.Result().Cookies(); w.Code == http.StatusOK && renews && len(cookies) > 0 && !sess.HasChanged() {
		c.current.Store(cookies[0].Value)
	}
}

// save saves a session by hand, and tries again with the same session if that fails.
func (c *counting) save(sid string) {
	s, err := c.store.Read(c.context(), sid)
	if err != nil || s.Get("user") == nil {
		return
	}
	n := 0
	for try := range 4 {
		if try == 0 || c.rng.IntN(2) == 0 {
			c.act(s)
			n++
		}
		c.pause()
		if err = c.store.Save(c.context(), s); err == nil {
			if try > 0 {
				c.all.again.Add(1)
			}
			break
		}
	}
	c.counts(n, s, err != nil)
}
