package sqlstore

import (
	"context"
	"slices"
	"sync"
	"time"
)

// regrowTime is the time after which a gate lets one more operation in.
const regrowTime = time.Second

// gate lets as many operations in at a time as there are connections for. If the server
// has no more connections, it lets in as many as have one, and now and then tries one more.
// The others wait in a queue.
type gate struct {
	most int // 0 for any number

	mu     sync.Mutex
	inside int
	limit  int             // how many may be inside; 0 for any number
	queue  []chan struct{} // of those who wait; closed when one is let in
	grown  time.Time       // when limit changed
}

func newGate(most int) *gate { return &gate{most: most, limit: most} }

// enter waits until the caller may go in. It returns the error of ctx if ctx is done first.
func (g *gate) enter(ctx context.Context) error {
	g.mu.Lock()
	g.regrow()
	g.let()
	if g.limit == 0 || g.inside < g.limit && len(g.queue) == 0 {
		g.inside++
		g.mu.Unlock()
		return nil
	}
	let := make(chan struct{})
	g.queue = append(g.queue, let)
	g.mu.Unlock()

	select {
	case <-let:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.queue, let); i >= 0 {
		g.queue = slices.Delete(g.queue, i, i+1)
		return ctx.Err()
	}
	return nil // let in at the last moment
}

// tryEnter lets the caller in if it need not wait, and reports whether it is in.
func (g *gate) tryEnter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limit > 0 && g.inside >= g.limit {
		return false
	}
	g.inside++
	return true
}

// leave says that the caller has come out.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	g.regrow()
	g.let()
}

// full says that the caller has come out because there was no connection for it.
func (g *gate) full() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if n := max(1, g.inside); g.limit == 0 || n < g.limit {
		g.limit = n
	}
	g.grown = time.Now()
	g.let()
}

// regrow lets one more in after a while, up to what there was at first.
func (g *gate) regrow() {
	if g.limit == g.most || time.Since(g.grown) < regrowTime {
		return
	}
	g.limit++
	g.grown = time.Now()
	if g.most == 0 && g.limit > g.inside+len(g.queue)+1 {
		g.limit = 0 // nobody waits
	}
}

// let lets those in who have waited longest.
func (g *gate) let() {
	for len(g.queue) > 0 && (g.limit == 0 || g.inside < g.limit) {
		close(g.queue[0])
		g.queue[0] = nil
		g.queue = g.queue[1:]
		g.inside++
	}
}
