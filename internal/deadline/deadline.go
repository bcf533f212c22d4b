// Package deadline has contexts whose deadline costs less than that of package
// context.
//
// A driver starts a goroutine or two for each operation to watch a context that can be
// done, and a context with a deadline starts a timer. Both cost more than the rest of a
// short operation. So where a connection is given the deadline itself, the driver gets
// a context that nobody watches: see [WithoutDone]. And [Within] starts its timer only for
// those who ask for its Done channel.
package deadline

import (
	"context"
	"time"
)

// withoutDone is a context whose Done channel is nil.
type withoutDone struct{ context.Context }

// WithoutDone returns a context that has the deadline and the values of ctx, but is
// never done. So a driver does not watch this context. It is for an operation on a
// connection that has the deadline itself.
func WithoutDone(ctx context.Context) context.Context { return withoutDone{ctx} }

func (withoutDone) Done() <-chan struct{} { return nil }
func (withoutDone) Err() error            { return nil }

// Watched returns a context for drivers that have to watch one. It is done at the
// deadline of ctx and after the timeout, whichever comes first. It is also done when
// ctx is done, which a context of WithoutDone never is.
func Watched(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if t, ok := ctx.Deadline(); ok && ctx.Done() == nil {
		timeout = min(timeout, time.Until(t))
		ctx = context.WithoutCancel(ctx) // or package context would leave the deadline to ctx
	}
	return context.WithTimeout(ctx, timeout)
}

// Err is ctx.Err(), and an error from the deadline on. A context may be done a moment
// after its deadline, when a connection with the same deadline has already failed.
func Err(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t, ok := ctx.Deadline(); ok && !time.Now().Before(t) {
		return context.DeadlineExceeded
	}
	return nil
}
