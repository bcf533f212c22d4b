// Package deadline has contexts that end without anybody being told.
package deadline

import (
	"context"
	"net"
	"time"
)

// only is a context whose Done channel is nil.
type only struct{ context.Context }

// Only returns a context with the deadline and the values of ctx that is never
// done. Drivers start a goroutine or two for each operation to watch a context that
// can be done, which costs more than the rest of a short operation. For a
// connection that is given the deadline itself that is a waste.
func Only(ctx context.Context) context.Context { return only{ctx} }

func (only) Done() <-chan struct{} { return nil }
func (only) Err() error            { return nil }

// Set gives a connection the deadline of a context that nobody watches, and none
// for any other context.
func Set(conn net.Conn, ctx context.Context) error {
	var t time.Time
	if ctx.Done() == nil {
		t, _ = ctx.Deadline()
	}
	return conn.SetDeadline(t)
}

// Watched returns a context that is done at the deadline of ctx and, unless ctx is
// of Only, with it; after the timeout at the latest.
func Watched(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if t, ok := ctx.Deadline(); ok && ctx.Done() == nil {
		timeout = min(timeout, time.Until(t))
		ctx = context.WithoutCancel(ctx) // its deadline would count as watched
	}
	return context.WithTimeout(ctx, timeout)
}

// Err is ctx.Err() that never lags behind the deadline, as that of a context may
// when a connection has already failed by it.
func Err(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t, ok := ctx.Deadline(); ok && !time.Now().Before(t) {
		return context.DeadlineExceeded
	}
	return nil
}
