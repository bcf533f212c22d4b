package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/go-redis/redis/v8"

	"github.com/flamego/session/internal/deadline"
	"github.com/flamego/session/internal/liveness"
)

// newClient makes a client that differs from those of go-redis in three ways.
//
// It dials again at once after failures. When as many dials in a row have failed as the
// pool has connections, go-redis answers with the last error, and dials only once a
// second, though the server may be back. So here a dial never fails. It returns a
// failedConn, whose first use fails. (MinIdleConns would fill the pool with such
// connections, so with MinIdleConns a dial does fail.)
//
// It does not retry by itself. Go-redis would go on after the deadline of a context that
// is never done, each retry would take time and break one more connection of the pool, and
// a write would be made twice. Instead, [retry] makes the retries that the options ask for.
//
// Its connections are watched, since a balancer may have dropped some: see package
// liveness. The errors of its connections say what was not sent.
func newClient(opts redis.Options, conns *liveness.Conns) (*redis.Client, retries) {
	if opts.DialTimeout == 0 {
		opts.DialTimeout = 2 * time.Second
	}
	if opts.ReadTimeout == 0 {
		opts.ReadTimeout = 2 * time.Second // as much as package liveness gives to an attempt
	}
	if opts.IdleTimeout == 0 {
		opts.IdleTimeout = liveness.IdleTime
		if opts.IdleCheckFrequency == 0 {
			opts.IdleCheckFrequency = liveness.IdleTime / 4
		}
	}
	maxRetries := opts.MaxRetries
	if maxRetries == 0 {
		maxRetries = 3 // as in go-redis
	}
	opts.MaxRetries = -1
	dial := opts.Dialer
	if dial == nil {
		dial = newDialer(opts.TLSConfig, opts.DialTimeout, conns)
	} else {
		dial = conns.Dialer(dial)
	}
	opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		inner, err := dial(ctx, network, addr)
		if err == nil {
			return conn{inner}, nil
		}
		err = &notSentError{err: err, dial: true}
		if opts.MinIdleConns > 0 {
			return nil, err
		}
		if opts.Password != "" || opts.DB != 0 || opts.OnConnect != nil {
			// Before its first use, go-redis logs in on the connection or selects a
			// database. Of an error of that, go-redis takes one layer off.
			err = &loginError{err}
		}
		return failedConn{err: err}, nil
	}
	client := redis.NewClient(&opts)
	return client, retries{max: maxRetries, minRest: client.Options().MinRetryBackoff, maxRest: client.Options().MaxRetryBackoff}
}

// newDialer makes a dialer that ends at the deadline of its context even if the context
// is never done. In the dialers of the standard library, a handshake or the look-up of a
// name would not end then. The connections are watched, below TLS.
func newDialer(config *tls.Config, timeout time.Duration, conns *liveness.Conns) liveness.DialFunc {
	dial := conns.Dialer(new(net.Dialer).DialContext)
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := deadline.Watched(ctx, timeout)
		defer cancel()
		raw, err := dial(ctx, network, addr)
		if err != nil || config == nil {
			return raw, err
		}
		config := config.Clone() // as in tls.Dialer
		if config.ServerName == "" {
			if config.ServerName, _, err = net.SplitHostPort(addr); err != nil {
				config.ServerName = addr
			}
		}
		secure := tls.Client(raw, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
		return secure, nil
	}
}

// conn is a connection whose errors say what was not sent. The server executes no command
// of which it has a part only.
type conn struct{ net.Conn }

func (c conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil {
		err = &notSentError{err: err}
	}
	return n, err
}

// SetWriteDeadline fails if the connection was dropped while it was idle.
func (c conn) SetWriteDeadline(t time.Time) error {
	if err := c.Conn.SetWriteDeadline(t); err != nil {
		return &notSentError{err: err}
	}
	return nil
}

// notSentError is an error of a connection that comes before all of a command was sent.
type notSentError struct {
	err  error
	dial bool // the connection could not be made
}

func (e *notSentError) Error() string { return e.err.Error() }
func (e *notSentError) Unwrap() error { return e.err }

// Timeout and Temporary make it a net.Error, as the errors of connections are.
func (e *notSentError) Timeout() bool {
	var network net.Error
	return errors.As(e.err, &network) && network.Timeout()
}
func (e *notSentError) Temporary() bool { return false }

// loginError is the layer that go-redis takes off.
type loginError struct{ err error }

func (e *loginError) Error() string { return e.err.Error() }
func (e *loginError) Unwrap() error { return e.err }

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
