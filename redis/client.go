package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-redis/redis/v8"

	"github.com/flamego/session/internal/deadline"
)

// newClient makes a client that differs from those of go-redis in two ways.
//
// It dials again at once after failures. When as many dials in a row have failed as the
// pool has connections, go-redis answers with the last error, and dials only once a
// second, though the server may be back. So here a dial never fails. It returns a
// failedConn, whose first use fails. (MinIdleConns would fill the pool with such
// connections, so with MinIdleConns a dial does fail.)
//
// It does not retry by itself. Go-redis would go on after the deadline of a context that
// is never done, and each retry would take time and break one more connection of the
// pool. Instead, [retry] makes the retries that the options ask for.
func newClient(opts redis.Options) (*redis.Client, retries) {
	if opts.DialTimeout == 0 {
		opts.DialTimeout = 2 * time.Second
	}
	if opts.ReadTimeout == 0 {
		opts.ReadTimeout = time.Second
	}
	maxRetries := opts.MaxRetries
	if maxRetries == 0 {
		maxRetries = 3 // as in go-redis
	}
	opts.MaxRetries = -1
	dial := opts.Dialer
	if dial == nil {
		dial = newDialer(opts.TLSConfig, opts.DialTimeout)
	}
	opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil || opts.MinIdleConns > 0 {
			return conn, err
		}
		if opts.Password != "" || opts.DB != 0 || opts.OnConnect != nil {
			// Before its first use, go-redis logs in on the connection or selects a
			// database. Of an error of that, go-redis takes one layer off.
			err = fmt.Errorf("%w", err)
		}
		return failedConn{err: err}, nil
	}
	client := redis.NewClient(&opts)
	return client, retries{max: maxRetries, minRest: client.Options().MinRetryBackoff, maxRest: client.Options().MaxRetryBackoff}
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// newDialer makes a dialer that ends at the deadline of its context even if the context
// is never done. In the dialers of the standard library, a handshake or the look-up of a
// name would not end then.
func newDialer(config *tls.Config, timeout time.Duration) dialer {
	d := &net.Dialer{KeepAlive: 5 * time.Minute}
	dial := d.DialContext
	if config != nil {
		dial = (&tls.Dialer{NetDialer: d, Config: config}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := deadline.Watched(ctx, timeout)
		defer cancel()
		return dial(ctx, network, addr)
	}
}

// failedConn stands for a connection that could not be made.
type failedConn struct {
	net.Conn // nil, as go-redis calls only the methods below
	err      error
}

func (c failedConn) Read([]byte) (int, error)         { return 0, c.err }
func (c failedConn) Write([]byte) (int, error)        { return 0, c.err }
func (c failedConn) SetReadDeadline(time.Time) error  { return c.err }
func (c failedConn) SetWriteDeadline(time.Time) error { return c.err }
func (failedConn) Close() error                       { return nil }

// run makes a call, and returns when ctx ends. The call may go on after that, while the
// caller already changes its memory. So the call must not send from memory of the caller:
// data is sent as strings, which are copies.
func run[T any](ctx context.Context, b *backend, call func(context.Context) (T, error)) (T, error) {
	if b.endsByDeadline(ctx) {
		return runUntilDeadline(ctx, b, call)
	}
	return runUntilDone(ctx, b, call)
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
func runUntilDeadline[T any](ctx context.Context, b *backend, call func(context.Context) (T, error)) (T, error) {
	var zero T
	if err := b.acquire(ctx); err != nil {
		return zero, err
	}
	defer b.release()
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	val, err := retry(deadline.WithoutDone(ctx), b, call)
	return val, contextErr(ctx, err)
}

// contextErr is the error of ctx if the call failed because ctx has ended. Otherwise it
// is the error of the call.
func contextErr(ctx context.Context, err error) error {
	if done := deadline.Err(ctx); err != nil && done != nil {
		return done
	}
	return err
}

// runUntilDone makes a call, and returns when ctx is done even if the call goes on.
// Go-redis alone may wait longer than ctx: for a dialer of the app, or when a Cluster
// client first asks the server for its slots.
func runUntilDone[T any](ctx context.Context, b *backend, call func(context.Context) (T, error)) (T, error) {
	type result struct {
		val T
		err error
	}
	var zero T
	if err := b.acquire(ctx); err != nil {
		return zero, err
	}
	done := make(chan result, 1)
	go func() {
		defer b.release()
		val, err := retry(ctx, b, call)
		done <- result{val, err}
	}()
	select {
	case r := <-done:
		return r.val, r.err
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}

// retry makes a call, and makes it again while that may help and there is time.
//
// After a restart of the server the pool may be full of broken connections, of which
// each attempt removes one. So there are as many attempts as connections, and for a
// client made from Options also the retries of the options.
//
// All operations may be repeated: once an operation has succeeded, the state that it
// expects is gone. If a second attempt is refused for that reason, the portable store
// finds out.
func retry[T any](ctx context.Context, b *backend, call func(context.Context) (T, error)) (T, error) {
	val, err := call(ctx)
	if !retryable(err) {
		return val, err
	}
	conns, rests := b.client.PoolStats().TotalConns+1, 0
	for retryable(err) && deadline.Err(ctx) == nil {
		switch {
		case broken(err) && conns > 0:
			conns--
		case rests < b.retries.max:
			rests++
			if !b.retries.rest(ctx, rests) {
				return val, err
			}
		default:
			return val, err
		}
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

// broken reports whether err is that of a connection that had worked before.
func broken(err error) bool {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Op != "dial"
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// retryable reports whether another attempt may succeed: after the errors for which
// go-redis tries again, and after a handshake that took too long.
func retryable(err error) bool {
	if err == nil || errors.Is(err, redis.Nil) {
		return false
	}
	var network net.Error
	if broken(err) || errors.As(err, &network) {
		return true
	}
	var reply redis.Error
	return errors.As(err, &reply) && slices.ContainsFunc(retryableReplies, func(prefix string) bool {
		return strings.HasPrefix(reply.Error(), prefix)
	})
}

// retryableReplies are how the answers begin after which the server may soon give another
// answer.
var retryableReplies = []string{"LOADING ", "READONLY ", "CLUSTERDOWN ", "TRYAGAIN ", "ERR max number of clients reached"}
