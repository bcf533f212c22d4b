package redis

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/go-redis/redis/v8"

	"github.com/flamego/session/internal/attempts"
	"github.com/flamego/session/internal/deadline"
	"github.com/flamego/session/redis/internal/errtext"
)

// kind says how often a call may be made.
type kind bool

const (
	// repeatable is a call that may have been made before.
	repeatable kind = false
	// once is a write that compares with what was read. If it was made and its answer is
	// lost, it fails the second time, which looks as if somebody else had written: then the
	// changes would be made again on top of what was written since. So it is made again only
	// if it was surely not done.
	once kind = true
)

// retry makes a call, and makes it again while that may help and there is time.
//
// After a restart of the server the pool may be full of broken connections, of which
// each attempt removes one. So there are as many attempts as connections, and also the
// retries of the options.
func retry[T any](ctx context.Context, b *backend, kind kind, call func(context.Context) (T, error)) (T, error) {
	val, err := call(ctx)
	if !b.mayRepeat(kind, err) {
		return val, err
	}
	conns, rests, demoted := int(b.client.PoolStats().TotalConns)+1, 0, false
	for b.mayRepeat(kind, err) && deadline.Err(ctx) == nil {
		switch {
		case b.conns != nil && !demoted && isReadOnly(err):
			// A failover: the server is a replica now, and a new connection may lead to the
			// new primary. (A client of the app closes one connection with each such reply.)
			demoted = true
			b.conns.DropIdle()
		case conns > 0 && (broken(err) || b.conns == nil && isReadOnly(err)):
			conns--
		case rests < b.retries.max:
			rests++
			if !b.retries.rest(ctx, rests) {
				return val, err
			}
		default:
			return val, err
		}
		attempts.Again(ctx)
		val, err = call(ctx)
	}
	return val, err
}

// retries says how often to try again, and how long to rest before each retry.
type retries struct {
	max              int
	minRest, maxRest time.Duration
}

// rest waits as long as go-redis waits before its nth retry. It reports false if ctx
// has ended by then.
func (r retries) rest(ctx context.Context, n int) bool {
	d := min(r.minRest+rand.N(max(r.minRest<<min(n, 10), 1)), r.maxRest)
	if end, ok := ctx.Deadline(); ok {
		d = min(d, time.Until(end))
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return deadline.Err(ctx) == nil
}

// mayRepeat reports whether another attempt is allowed and may succeed.
func (b *backend) mayRepeat(kind kind, err error) bool {
	return retryable(err) && (kind == repeatable || b.notDone(err))
}

// notDone reports whether a write that failed so was surely not done. If the client has
// retries of its own, that is not known: the error is that of the last attempt.
func (b *backend) notDone(err error) bool {
	if b.ownRetries {
		return false
	}
	if reply, ok := errtext.Reply(err); ok {
		return errtext.IsNotDone(reply)
	}
	if errors.As(err, new(*notSentError)) || errors.Is(err, redis.ErrClosed) || isPoolTimeout(err) {
		return true
	}
	// The errors of a client of the app.
	op := (*net.OpError)(nil)
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "write")
}

// isPoolTimeout reports whether all connections were in use for too long. Go-redis does not
// export the error.
func isPoolTimeout(err error) bool { return err.Error() == "redis: connection pool timeout" }

func isReadOnly(err error) bool {
	reply, ok := errtext.Reply(err)
	return ok && errtext.Code(reply) == "READONLY"
}

// broken reports whether err is that of a connection that had worked before.
func broken(err error) bool {
	if notSent := (*notSentError)(nil); errors.As(err, &notSent) {
		return !notSent.dial
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Op != "dial"
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// retryable reports whether another attempt may succeed: after the errors for which
// go-redis tries again, and after a handshake that took too long.
func retryable(err error) bool {
	if err == nil {
		return false
	}
	if reply, ok := errtext.Reply(err); ok {
		return errtext.IsPassing(reply)
	}
	var network net.Error
	return broken(err) || errors.As(err, &network)
}
