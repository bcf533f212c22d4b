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

// Patience is how long a round trip may take before those that it took along go on
// their own, and the next one begins.
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

// Get returns what there is under the key. It ends with ctx. What fails for several
// keys is done again for each: the fault may be that of one, of the context of whoever
// took the others along, or of a connection that has died.
func (g *Group[A]) Get(ctx context.Context, key string) (A, error) {
	l := &lookup[A]{key: key}
	select {
	case g.turns <- struct{}{}:
		g.fly(ctx, l, nil)
	default:
		if err := g.share(ctx, l); err != nil {
			var none A
			return none, err // l may still be somebody's
		}
	}
	if l.failed {
		l.answer, l.err = g.alone(ctx, key)
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

// Waiting returns how many look-ups wait.
func (g *Group[A]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

// share waits for a turn, or for the answer that comes with another look-up. It
// returns an error only if ctx ends first.
func (g *Group[A]) share(ctx context.Context, l *lookup[A]) error {
	l.done = make(chan struct{})
	g.join(l)
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		g.leave(l)
		return ctx.Err()
	case g.turns <- struct{}{}:
	}
	if others, ok := g.take(l); ok {
		g.fly(ctx, l, others)
		return nil
	}
	<-g.turns
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
	var landed sync.Once
	land := func(failed bool) {
		for i, other := range others {
			if other.failed = failed; !failed {
				other.answer = answers[i+1]
			}
			close(other.done)
		}
	}
	late := time.AfterFunc(Patience, func() {
		<-g.turns
		landed.Do(func() { land(true) })
	})
	err := errPanicked
	defer func() {
		if late.Stop() {
			<-g.turns
		}
		landed.Do(func() { land(err != nil) })
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
