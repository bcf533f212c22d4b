// Package together lets look-ups that come at the same time share a round trip.
package together

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/flamego/session/internal/deadline"
)

// Patience is how long a look-up waits for others before it goes on its own. Who does
// not wait starts no timer, which may cost more than the rest: it wakes a thread.
const Patience = 100 * time.Millisecond

// Group is look-ups of one kind. Only so many round trips are made at a time; the next
// one takes along all look-ups that wait, where they would have gone one by one. Each
// is asked for after it began.
type Group[A any] struct {
	turns chan struct{} // one for each round trip
	most  int
	fetch func(ctx context.Context, keys []string) ([]A, error)

	mu      sync.Mutex
	waiting []*lookup[A]
}

// lookup is the wish to know what there is under a key.
type lookup[A any] struct {
	key    string
	taken  bool          // along by another; guarded by Group.mu
	done   chan struct{} // closed when it is known what became of it
	answer A
	err    error
	failed bool // together with others: it is to go on its own
}

// New returns a group that makes n round trips at a time. The function makes one: it
// returns the answers to the keys, in their order; to so many of them at most.
func New[A any](n, most int, fetch func(ctx context.Context, keys []string) ([]A, error)) *Group[A] {
	return &Group[A]{turns: make(chan struct{}, n), most: most, fetch: fetch}
}

// Get returns what there is under the key. It ends with ctx, if the function does.
// What fails for several keys is done again for each: the fault may be that of one, of
// the context of whoever took the others along, or of a connection that has died.
func (g *Group[A]) Get(ctx context.Context, key string) (A, error) {
	l := &lookup[A]{key: key}
	select {
	case g.turns <- struct{}{}:
		g.fly(ctx, l, nil)
	default:
		if !g.share(ctx, l) {
			return g.alone(ctx, key) // l may still be somebody's
		}
	}
	if l.failed {
		return g.alone(ctx, key)
	}
	return l.answer, l.err
}

func (g *Group[A]) alone(ctx context.Context, key string) (answer A, err error) {
	if err := deadline.Err(ctx); err != nil {
		return answer, err
	}
	answers, err := g.fetch(ctx, []string{key})
	if err != nil {
		return answer, err
	}
	return answers[0], nil
}

// share waits for a turn, or for the answer that comes with another look-up; it
// reports false if it has waited for too long.
func (g *Group[A]) share(ctx context.Context, l *lookup[A]) bool {
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
	case g.turns <- struct{}{}:
	}
	if others, ok := g.take(l); ok {
		g.fly(ctx, l, others)
		return true
	}
	<-g.turns
	select {
	case <-l.done:
		return true
	case <-late.C:
		return false
	}
}

// patience is shorter for one that has less time.
func (g *Group[A]) patience(ctx context.Context) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return min(Patience, time.Until(end))
	}
	return Patience
}

func (g *Group[A]) join(l *lookup[A]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, l)
}

// take ends the wait of l and others, which it returns; none if l has been taken
// along.
func (g *Group[A]) take(l *lookup[A]) (others []*lookup[A], ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l.taken {
		return nil, false
	}
	rest := g.waiting[:0]
	for _, other := range g.waiting {
		switch {
		case other == l:
		case len(others)+1 < g.most:
			other.taken = true
			others = append(others, other)
		default:
			rest = append(rest, other)
		}
	}
	clear(g.waiting[len(rest):])
	g.waiting = rest
	return others, true
}

// leave ends the wait of l alone.
func (g *Group[A]) leave(l *lookup[A]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, l); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
}

// fly makes a round trip for l and others, in a turn that it gives back.
func (g *Group[A]) fly(ctx context.Context, l *lookup[A], others []*lookup[A]) {
	var answers []A
	err := errPanicked
	defer func() {
		<-g.turns
		for i, other := range others {
			if other.failed = err != nil; err == nil {
				other.answer = answers[i+1]
			}
			close(other.done)
		}
	}()

	keys := make([]string, 1+len(others))
	keys[0] = l.key
	for i, other := range others {
		keys[i+1] = other.key
	}
	if answers, err = g.fetch(ctx, keys); err == nil {
		l.answer = answers[0]
	}
	l.err, l.failed = err, err != nil && len(others) > 0
}

var errPanicked = errors.New("the client panicked")
