package redis

import (
	"context"
	"errors"
	"fmt"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/deadline"
	"github.com/flamego/session/internal/redact"
	"github.com/flamego/session/redis/internal/errtext"
)

// run makes a call, and returns when ctx ends. The call may go on after that, while the
// caller already changes its memory. So the call must not send from memory of the caller:
// data is sent as strings, which are copies.
//
// All errors of the store come from here, so here they get a text that is safe to show. The
// error of a call that is made once wraps [session.ErrNotApplied] if nothing was done.
func run[T any](ctx context.Context, b *backend, kind kind, call func(context.Context) (T, error)) (val T, err error) {
	guarded := func(ctx context.Context) (val T, err error) {
		defer b.guard(&err)
		return call(ctx)
	}
	if b.endsByDeadline(ctx) {
		val, err = runUntilDeadline(ctx, b, kind, guarded)
	} else {
		val, err = runUntilDone(ctx, b, kind, guarded)
	}
	if err != nil && kind == once && b.notDone(err) {
		return val, redact.New(errtext.Text(err), errors.Join(session.ErrNotApplied, err))
	}
	return val, errtext.Redacted(err)
}

// guard turns a panic into an error. Go-redis makes room for as many bytes as a reply says, and a
// length below zero is a panic. The connection goes back to the pool as if all were well, so the
// idle ones are closed. (Where a context can be done, go-redis reads in a goroutine of its own, whose
// panic nobody can stop: that is so for a client or a Dialer of the app.)
func (b *backend) guard(err *error) {
	if v := recover(); v != nil {
		*err = redact.New(fmt.Sprintf("the client panicked with a %T", v), nil)
		if b.conns != nil {
			b.conns.DropIdle()
		}
	}
}

// endsByDeadline reports whether a call ends at the deadline of ctx by itself. A call
// does so if no code of the app takes part in it. Any other call has to be watched, which
// takes two goroutines: one of go-redis and one of [runUntilDone].
func (b *backend) endsByDeadline(ctx context.Context) bool {
	_, ok := ctx.Deadline()
	return ok && b.slots != nil
}

// acquire waits for a slot, which is for one of the connections. Go-redis would wait for
// a connection by itself, but for as long as its PoolTimeout says, whatever the context.
func (b *backend) acquire(ctx context.Context) error {
	if b.slots == nil {
		return nil
	}
	select {
	case b.slots <- struct{}{}:
		return nil
	default: // ctx.Done may start a timer, so it is called only by those who wait
	}
	select {
	case b.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release gives the slot back.
func (b *backend) release() {
	if b.slots != nil {
		<-b.slots
	}
}

// runUntilDeadline makes a call that ends at the deadline of ctx by itself. If ctx has
// ended already, no call is made, as it would break a connection.
func runUntilDeadline[T any](ctx context.Context, b *backend, kind kind, call func(context.Context) (T, error)) (T, error) {
	var zero T
	if err := b.acquire(ctx); err != nil {
		return zero, &notSentError{err: err}
	}
	defer b.release()
	if err := ctx.Err(); err != nil {
		return zero, &notSentError{err: err}
	}
	val, err := retry(deadline.WithoutDone(ctx), b, kind, call)
	return val, contextErr(ctx, err)
}

// contextErr is the error of ctx, and that of the call, if the call failed because ctx has
// ended. Otherwise it is the error of the call.
func contextErr(ctx context.Context, err error) error {
	done := deadline.Err(ctx)
	if err == nil || done == nil || errors.Is(err, done) {
		return err
	}
	return redact.New(done.Error()+" ("+errtext.Text(err)+")", errors.Join(done, err))
}

// runUntilDone makes a call, and returns when ctx is done even if the call goes on.
// Go-redis alone may wait longer than ctx: for a dialer of the app, or when a Cluster
// client first asks the server for its slots.
func runUntilDone[T any](ctx context.Context, b *backend, kind kind, call func(context.Context) (T, error)) (T, error) {
	type result struct {
		val T
		err error
	}
	var zero T
	if err := b.acquire(ctx); err != nil {
		return zero, &notSentError{err: err}
	}
	done := make(chan result, 1)
	go func() {
		defer b.release()
		val, err := retry(ctx, b, kind, call)
		done <- result{val, err}
	}()
	select {
	case r := <-done:
		return r.val, r.err
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}
