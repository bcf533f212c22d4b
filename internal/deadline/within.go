package deadline

import (
	"context"
	"sync"
	"time"
)

// Within is context.WithTimeout, but starts its timer when Done is first called. To
// start and stop a timer takes longer than a short operation waits for anything, and
// most operations never call Done.
func Within(parent context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	c := &within{parent: parent, end: time.Now().Add(timeout)}
	if end, ok := parent.Deadline(); ok && end.Before(c.end) {
		c.end = end
	}
	return c, c.cancel
}

type within struct {
	parent context.Context
	end    time.Time

	mu      sync.Mutex
	err     error              // why the context has ended
	watched context.Context    // has a timer; nil before the first call of Done
	stop    context.CancelFunc // of watched
}

func (c *within) Deadline() (time.Time, bool) { return c.end, true }

func (c *within) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watched == nil {
		c.watched, c.stop = context.WithDeadline(c.parent, c.end)
		if c.ended() != nil {
			c.stop()
		}
	}
	return c.watched.Done()
}

func (c *within) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended()
}

// ended returns what Err returns. The caller holds the lock.
func (c *within) ended() error {
	switch {
	case c.err != nil:
	case c.watched != nil:
		c.err = c.watched.Err()
	case c.parent.Err() != nil:
		c.err = c.parent.Err()
	case !time.Now().Before(c.end):
		c.err = context.DeadlineExceeded
	}
	return c.err
}

// Value asks watched once there is one. By that, package context finds a context of
// its own below c, and needs no goroutine when another context is derived from c.
func (c *within) Value(key any) any {
	c.mu.Lock()
	from := c.parent
	if c.watched != nil {
		from = c.watched
	}
	c.mu.Unlock()
	return from.Value(key)
}

func (c *within) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended() == nil {
		c.err = context.Canceled
	}
	if c.stop != nil {
		c.stop()
	}
}
