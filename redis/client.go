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

// newClient makes a client that does not sulk: when as many dials in a row have
// failed as its pool is large, go-redis answers with the last error and tries
// anew only once a second, in which time the server may be back. So a dial does
// not fail; it is the first use of the connection that does. (Not with
// MinIdleConns, which would fill the pool with such connections.)
//
// Nor does it try again by itself, as it would after the deadline of a context that is
// never done: each time it would rest and use up one more connection of the pool. The
// retries that the options ask for are [repeated]'s.
func newClient(opts redis.Options) (*redis.Client, retries) {
	if opts.DialTimeout == 0 {
		opts.DialTimeout = 2 * time.Second
	}
	if opts.ReadTimeout == 0 {
		opts.ReadTimeout = time.Second
	}
	most := opts.MaxRetries
	if most == 0 {
		most = 3 // as in go-redis
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
			err = fmt.Errorf("%w", err) // that use is a greeting, where go-redis unwraps once
		}
		return failedConn{err: err}, nil
	}
	client := redis.NewClient(&opts)
	return client, retries{most: most, min: client.Options().MinRetryBackoff, max: client.Options().MaxRetryBackoff}
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// newDialer makes a dialer that ends with its context in any case. Those of the
// standard library watch one: a handshake and the look-up of a name would not end by
// the deadline of one that is never done.
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

// failedConn is a connection that could not be made.
type failedConn struct {
	net.Conn // nil: go-redis uses nothing but the methods below
	err      error
}

func (c failedConn) Read([]byte) (int, error)         { return 0, c.err }
func (c failedConn) Write([]byte) (int, error)        { return 0, c.err }
func (c failedConn) SetReadDeadline(time.Time) error  { return c.err }
func (c failedConn) SetWriteDeadline(time.Time) error { return c.err }
func (failedConn) Close() error                       { return nil }

// run makes a call that ends with ctx. What it sends must not be the caller's
// memory, as it may still be looking at it then: the data goes as strings, which
// are copies.
func run[T any](ctx context.Context, b *backend, call func(context.Context) (T, error)) (T, error) {
	if !b.direct(ctx) {
		return watched(ctx, b, call)
	}
	if err := b.begin(ctx); err != nil {
		var zero T
		return zero, err
	}
	defer b.end()
	val, err := unwatched(ctx, b, call)
	return val, reason(ctx, err)
}

// direct reports whether calls need not be watched, which costs two goroutines for
// each, one of go-redis and one of [watched]: where nothing of the app takes part, all
// that they wait for ends at the deadline of the context.
func (b *backend) direct(ctx context.Context) bool {
	_, ok := ctx.Deadline()
	return ok && b.turns != nil
}

// begin waits for one of b.turns, as go-redis would wait for a connection as long as
// its PoolTimeout says.
func (b *backend) begin(ctx context.Context) error {
	if b.turns == nil {
		return nil
	}
	select {
	case b.turns <- struct{}{}:
		return nil
	default:
	}
	select {
	case b.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *backend) end() {
	if b.turns != nil {
		<-b.turns
	}
}

// unwatched makes a call that ends at the deadline of ctx, while the caller has one
// of b.turns. Where ctx has ended it makes none, which would break a connection.
func unwatched[T any](ctx context.Context, b *backend, call func(context.Context) (T, error)) (T, error) {
	if err := ctx.Err(); err != nil {
		var zero T
		return zero, err
	}
	return repeated(deadline.Only(ctx), b, call)
}

// reason is the error of ctx where that is why a call failed, else that of the call.
func reason(ctx context.Context, err error) error {
	if done := deadline.Err(ctx); err != nil && done != nil {
		return done
	}
	return err
}

// watched gives up when ctx is done. Go-redis alone does not always: a dialer of the
// app and a Cluster client's first look at the server take the time they take.
func watched[T any](ctx context.Context, b *backend, call func(context.Context) (T, error)) (T, error) {
	type result struct {
		val T
		err error
	}
	var zero T
	if err := b.begin(ctx); err != nil {
		return zero, err
	}
	done := make(chan result, 1)
	go func() {
		defer b.end()
		val, err := repeated(ctx, b, call)
		done <- result{val, err}
	}()
	select {
	case r := <-done:
		return r.val, r.err
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}

// repeated makes a call, and again while there is time and hope. After a restart of
// the server the pool may be full of broken connections, of which each attempt removes
// one. Beyond that a client that is ours makes its retries here. All our operations may
// be repeated, as a compare fails once it has succeeded, and a refusal is looked into
// by the portable store.
func repeated[T any](ctx context.Context, b *backend, call func(context.Context) (T, error)) (T, error) {
	val, err := call(ctx)
	if !passing(err) {
		return val, err
	}
	conns, rests := b.client.PoolStats().TotalConns+1, 0
	for passing(err) && deadline.Err(ctx) == nil {
		switch {
		case broken(err) && conns > 0:
			conns--
		case rests < b.retries.most:
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

// retries are how often to try again, and how long to rest before.
type retries struct {
	most     int
	min, max time.Duration
}

// rest takes as long as go-redis rests before its nth retry, and reports whether ctx
// has not ended by then.
func (r retries) rest(ctx context.Context, n int) bool {
	d := min(r.min+rand.N(max(r.min<<min(n, 10), 1)), r.max)
	if end, ok := ctx.Deadline(); ok {
		d = min(d, time.Until(end))
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return deadline.Err(ctx) == nil
}

// broken tells whether err is that of a connection that once worked.
func broken(err error) bool {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Op != "dial"
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// passing tells whether err may be another one, or none, the next time: what go-redis
// would try again, and a handshake that took too long.
func passing(err error) bool {
	if err == nil || errors.Is(err, redis.Nil) {
		return false
	}
	var network net.Error
	if broken(err) || errors.As(err, &network) {
		return true
	}
	var reply redis.Error
	return errors.As(err, &reply) && slices.ContainsFunc(passingReplies, func(prefix string) bool {
		return strings.HasPrefix(reply.Error(), prefix)
	})
}

var passingReplies = []string{"LOADING ", "READONLY ", "CLUSTERDOWN ", "TRYAGAIN ", "ERR max number of clients reached"}
