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

// Patience is how long a round trip may take before the next one begins all the same:
// one that hangs does not hold up the others.
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
	done   chan struct{} // closed when there is an answer
	answer A
	err    error
	cut    bool // short by the end of the context of whoever asked
}

// New returns a group that makes n round trips at a time. The function makes one: it
// returns the answers to the keys, in their order; to so many of them at most.
func New[A any](n, most int, fetch func(ctx context.Context, keys []string) ([]A, error)) *Group[A] {
	return &Group[A]{turns: make(chan struct{}, n), most: most, fetch: fetch}
}

// Get returns what there is under the key. It ends with ctx, and does not fail because
// another look-up has that took it along.
func (g *Group[A]) Get(ctx context.Context, key string) (A, error) {
	for {
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
		if !l.cut || deadline.Err(ctx) != nil {
			return l.answer, l.err
		}
	}
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

// fly brings l and others their answers, and gives back the turn, if need be before.
func (g *Group[A]) fly(ctx context.Context, l *lookup[A], others []*lookup[A]) {
	all := append([]*lookup[A]{l}, others...)
	var answers []A
	err := errors.New("the client panicked")
	late := time.AfterFunc(Patience, func() { <-g.turns })
	defer func() {
		if late.Stop() {
			<-g.turns
		}
		cut := err != nil && deadline.Err(ctx) != nil
		for i, l := range all {
			if l.err, l.cut = err, cut; err == nil {
				l.answer = answers[i]
			}
			if l.done != nil {
				close(l.done)
			}
		}
	}()
	keys := make([]string, len(all))
	for i, l := range all {
		keys[i] = l.key
	}
	answers, err = g.fetch(ctx, keys)
}
