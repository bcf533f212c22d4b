// Package attempts counts how often a backend tries an operation, for whoever observes it. Where nobody does,
// an operation costs nothing more.
package attempts

import (
	"context"
	"sync/atomic"
)

// Counter is the number of attempts at one operation. A backend may go on with an operation after it has
// returned, so there may be more of them later.
type Counter struct{ repeats atomic.Int32 }

type key struct{}

// Count returns a context for one operation, and the counter of its attempts.
func Count(ctx context.Context) (context.Context, *Counter) {
	c := new(Counter)
	return context.WithValue(ctx, key{}, c), c
}

// N returns the number of attempts, which is at least 1.
func (c *Counter) N() int { return 1 + int(c.repeats.Load()) }

// Again is called by a backend before each attempt but the first.
func Again(ctx context.Context) {
	if c, ok := ctx.Value(key{}).(*Counter); ok {
		c.repeats.Add(1)
	}
}
