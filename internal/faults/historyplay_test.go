//go:build unix

package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flamego/session/internal/history"
)

// played is a history: what some clients of several processes do to the session of one visitor,
// and to another one of the same owner.
type played struct {
	seed       uint64
	instances  []instance
	calm       func() bool // reports whether there was no fault yet that can hit a write
	owner      string
	operations atomic.Int64

	mu       sync.Mutex
	steps    []*history.Step
	ids      []string // all that were ever in use
	jar      string   // the ID that the visitor's browser has
	second   string   // that of the visitor's other browser, in the beginning
	problems []string
}

func newHistory(seed uint64, instances []instance, calm func() bool) *played {
	return &played{seed: seed, instances: instances, calm: calm, owner: fmt.Sprint("owner", seed)}
}

// failed returns how many steps have failed.
func (p *played) failed() (n int) {
	for _, s := range p.steps {
		if s.Failed {
			n++
		}
	}
	return n
}

// play lets the clients do their work, then looks at every session that there ever was, and
// returns what is wrong.
func (p *played) play() (problem string) {
	rng := rand.New(rand.NewPCG(p.seed, 0))
	setUp := &player{played: p, rng: rng, in: p.instances[0]}
	p.second = setUp.begin()
	p.jar = setUp.begin()
	if p.second == "" || p.jar == "" {
		return fmt.Sprint("no session begins: ", p.problems)
	}
	var wg sync.WaitGroup
	n := 3 + rng.IntN(6)
	size := 20 + rng.IntN(80)
	for i := range n {
		c := &player{
			played: p, name: i + 1, left: size / n,
			rng: rand.New(rand.NewPCG(p.seed, uint64(i+1))), in: p.instances[i%len(p.instances)],
		}
		wg.Go(c.work)
	}
	wg.Wait()
	for _, id := range slices.Clone(p.ids) {
		setUp.until(job{Kind: history.Request, ID: id})
	}
	if len(p.problems) > 0 {
		return p.problems[0]
	}
	return history.Check(p.steps)
}

// player is one client.
type player struct {
	*played
	name, n, left int
	rng           *rand.Rand
	in            instance
}

// begin begins a session, and returns its ID.
func (c *player) begin() string {
	r := c.until(job{Kind: history.Request, Deeds: []history.Deed{c.set(history.Root, 0)}})
	return r.NewID
}

// until takes a step again and again until it does not fail.
func (c *player) until(e job) (r result) {
	const patience = 30 * time.Second
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(5 * time.Millisecond) {
		if len(e.Deeds) > 0 {
			e.Deeds[0] = c.set(e.Deeds[0].Key, 0)
		}
		if r = c.take(e); r.Problem != "" || r.Step != nil && !r.Step.Failed {
			return r
		}
	}
	return r
}

// take takes a step.
func (c *player) take(e job) result {
	c.left -= 1 + len(e.Deeds)
	c.n++
	e.Client, e.N, e.Owner = c.name, c.n, c.owner
	r := c.in.do(e)
	c.operations.Add(int64(1 + len(e.Deeds)))
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Problem != "" {
		c.problems = append(c.problems, fmt.Sprintf("client %d, step %d: %s", c.name, c.n, r.Problem))
	}
	if s := r.Step; s != nil {
		s.Calm = c.calm()
		c.steps = append(c.steps, s)
		if s.ID != "" && !slices.Contains(c.ids, s.ID) {
			c.ids = append(c.ids, s.ID)
		}
	}
	return r
}

func (c *player) work() {
	for c.left > 0 {
		id, inJar := c.pick()
		e := c.draw(id)
		r := c.take(e)
		if r.Problem != "" {
			return
		}
		if !inJar {
			continue
		}
		c.mu.Lock()
		switch {
		case r.NewID != "" && !r.Expired:
			c.jar = r.NewID
		case r.Expired && c.jar == id:
			c.jar = ""
		}
		c.mu.Unlock()
	}
}

// pick chooses the ID of a step: mostly that of the browser, which is none after a logout,
// sometimes another, which is mostly dead.
func (c *player) pick() (id string, inJar bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id = c.jar
	switch n, i := c.rng.IntN(100), c.rng.IntN(len(c.ids)); {
	case n < 75:
	case n < 83:
		id = c.second
	default:
		id = c.ids[i]
	}
	return id, id == c.jar
}

// draw draws a step.
func (c *player) draw(id string) job {
	e := c.drawStep(id)
	if c.rng.IntN(3) == 0 {
		e.Wait = time.Duration(c.rng.Int64N(int64(3 * time.Millisecond)))
	}
	return e
}

func (c *player) drawStep(id string) job {
	n := c.rng.IntN(100)
	if id == "" {
		n = 100
	}
	switch {
	case n < 2:
		return job{Kind: destroyByStore, ID: id}
	case n < 4:
		return job{Kind: touchByStore, ID: id}
	case n < 5:
		return job{Kind: gcByStore}
	case n < 7:
		return job{Kind: endOwned}
	case n < 9:
		return job{Kind: history.Request, ID: id, Deeds: []history.Deed{{Kind: endOthers}}}
	case n < 20:
		return job{Kind: history.Save, ID: id, Deeds: c.deeds(1+c.rng.IntN(2), true)}
	}
	e := job{Kind: history.Request, ID: id, Deeds: c.deeds(c.rng.IntN(4), false)}
	if id == "" && c.rng.IntN(3) > 0 {
		e.Deeds = append(e.Deeds, c.set(history.Root, len(e.Deeds)))
	}
	switch c.rng.IntN(50) {
	case 0:
		e.Disruption = panics
	case 1:
		e.Disruption = []string{cancelled, cancelledBefore}[c.rng.IntN(2)]
	}
	return e
}

// deeds draws what a handler does, or somebody who saves by hand.
func (c *player) deeds(n int, byHand bool) (deeds []history.Deed) {
	for range n {
		i := len(deeds)
		key := history.Keys[c.rng.IntN(len(history.Keys))]
		switch n := c.rng.IntN(100); {
		case n < 3 && !byHand:
			deeds = append(deeds, history.Deed{Kind: history.Destroy})
		case n < 12 && !byHand:
			deeds = append(deeds, history.Deed{Kind: history.Renew})
		case n < 17:
			deeds = append(deeds, history.Deed{Kind: history.Flush}, c.set(history.Root, i+1))
		case n < 30:
			deeds = append(deeds, history.Deed{Kind: history.SetFlash, Val: c.value(history.FlashKey, i)})
		case n < 42 && key != history.Root:
			deeds = append(deeds, history.Deed{Kind: history.Delete, Key: key})
		case n < 60:
			deeds = append(deeds, history.Deed{Kind: history.Add, Val: c.value(history.SumKey, i)})
		default:
			deeds = append(deeds, c.set(key, i))
		}
	}
	return deeds
}

func (c *player) set(key string, i int) history.Deed {
	return history.Deed{Kind: history.Set, Key: key, Val: c.value(key, i)}
}

// value returns a value that is written by one deed of the next step, and nowhere else.
func (c *player) value(key string, i int) string {
	return fmt.Sprintf("%s%d.%d.%d-%d", key, c.name, c.n+1, i, c.seed%1_000_000)
}
