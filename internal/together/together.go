// Package together lets look-ups that come at the same time share a round trip.
//
// A [Group] makes only a few round trips at a time. A look-up that comes while all of
// them are under way waits for the end of one. The next round trip then looks up all
// keys that wait, where they would have gone one by one. So no look-up waits only for
// others to come. The server is asked for a key after the look-up of this key has
// begun, so an answer is never older than its look-up.
package together

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/flamego/session/internal/deadline"
)

// Patience is how long a look-up waits for a shared round trip. After that it makes a
// round trip of its own. To start a timer wakes a thread, which may cost more than the
// rest of a look-up, so a look-up that need not wait starts none.
const Patience = 100 * time.Millisecond

// Group is look-ups of one kind, whose answers are of type A.
type Group[A any] struct {
	slots   chan struct{} // holds one element for each round trip under way
	maxKeys int           // how many keys go in one round trip at most
	fetch   func(ctx context.Context, keys []string) ([]A, error)

	mu      sync.Mutex
	waiting []*lookup[A]
}

// lookup is one look-up of a key, which may wait in a Group.
type lookup[A any] struct {
	key    string
	shared bool          // another look-up has taken this one along; guarded by Group.mu
	done   chan struct{} // closed when the shared round trip has ended
	answer A
	err    error
	retry  bool // a shared round trip has failed: make one for this key alone
}

// New returns a group that makes up to maxTrips round trips at a time, each for up to
// maxKeys keys. The function fetch makes a round trip, and returns the answers in the
// order of the keys.
func New[A any](maxTrips, maxKeys int, fetch func(ctx context.Context, keys []string) ([]A, error)) *Group[A] {
	return &Group[A]{slots: make(chan struct{}, maxTrips), maxKeys: maxKeys, fetch: fetch}
}

// Get returns what there is under the key. Get respects ctx only as far as fetch does.
//
// When a shared round trip fails, each of its keys gets a round trip of its own, because
// the fault may lie with one of the keys, with the context of one of the look-ups, or
// with a connection that has died.
func (g *Group[A]) Get(ctx context.Context, key string) (A, error) {
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
		return g.single(ctx, key)
	default:
	}
	l := &lookup[A]{key: key}
	if !g.wait(ctx, l) || l.retry { // if it does not wait any more, another look-up may still write to l
		return g.single(ctx, key)
	}
	return l.answer, l.err
}

// single looks up a key in a round trip of its own.
func (g *Group[A]) single(ctx context.Context, key string) (answer A, err error) {
	if err := deadline.Err(ctx); err != nil {
		return answer, err
	}
	answers, err := g.fetch(ctx, []string{key})
	if err != nil {
		return answer, err
	}
	return answers[0], nil
}

// wait waits for a slot, or until another look-up has taken l along. It reports false
// if neither has come in time.
func (g *Group[A]) wait(ctx context.Context, l *lookup[A]) bool {
	l.done = make(chan struct{})
	g.join(l)
	late := time.NewTimer(g.patience(ctx))
	defer late.Stop()
	select {
	case <-l.done:
		return true
	case <-late.C:
		g.leave(l)
		return false
	case g.slots <- struct{}{}:
	}
	if others, ok := g.gather(l); ok {
		g.roundTrip(ctx, l, others)
		return true
	}
	<-g.slots // l has been taken along, and does not need the slot
	select {
	case <-l.done:
		return true
	case <-late.C:
		return false
	}
}

// patience is Patience, or the time that ctx has left if that is less.
func (g *Group[A]) patience(ctx context.Context) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return min(Patience, time.Until(end))
	}
	return Patience
}

// join adds l to the look-ups that wait.
func (g *Group[A]) join(l *lookup[A]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, l)
}

// gather ends the wait of l and of other look-ups, as many as go in one round trip,
// and returns the others. It reports false if l has been taken along already.
func (g *Group[A]) gather(l *lookup[A]) (others []*lookup[A], ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l.shared {
		return nil, false
	}
	rest := g.waiting[:0]
	for _, other := range g.waiting {
		switch {
		case other == l:
		case len(others)+1 < g.maxKeys:
			other.shared = true
			others = append(others, other)
		default:
			rest = append(rest, other)
		}
	}
	clear(g.waiting[len(rest):])
	g.waiting = rest
	return others, true
}

// leave ends the wait of l, if it still waits.
func (g *Group[A]) leave(l *lookup[A]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, l); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
}

// roundTrip looks up l and the others. The caller has taken a slot, which roundTrip
// gives back.
func (g *Group[A]) roundTrip(ctx context.Context, l *lookup[A], others []*lookup[A]) {
	var answers []A
	err := errPanicked // unless fetch returns
	defer func() {
		<-g.slots
		for i, other := range others {
			if other.retry = err != nil; err == nil {
				other.answer = answers[i+1]
			}
			close(other.done)
		}
	}()

	keys := make([]string, 1+len(others))
	keys[0] = l.key
	if end, ok := ctx.Deadline(); ok && len(others) > 0 {
		// Large answers may take longer together than each of them alone. There must be time
		// left for l alone; the others do not wait for that long.
		var cancel context.CancelFunc
		ctx, cancel = deadline.Within(ctx, time.Until(end)/2)
		defer cancel()
	}
	for i, other := range others {
		keys[i+1] = other.key
	}
	if answers, err = g.fetch(ctx, keys); err == nil {
		l.answer = answers[0]
	}
	l.err, l.retry = err, err != nil && len(others) > 0
}

var errPanicked = errors.New("the client panicked")
