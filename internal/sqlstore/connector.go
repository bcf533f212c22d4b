package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"time"

	"github.com/flamego/session/internal/deadline"
)

// The pool that a store opens itself. So many connections serve thousands of
// requests a second and leave room for other instances on a server with its
// default of 100 or 151 connections. They are renewed now and then, so that a
// server behind a load balancer can be taken out of service.
const (
	poolSize       = 16
	poolIdleTime   = 5 * time.Minute
	poolLifetime   = 30 * time.Minute
	connectTimeout = 5 * time.Second

	readers = 8
)

// pool is where an operation gets a connection.
type pool struct {
	*sql.DB
	gate  chan struct{} // holds one for each operation; nil if DB is shared
	timed bool          // connections end at a deadline that nobody watches
}

// openPool opens a pool of our own with n connections, kept for good or not.
func openPool(c driver.Connector, n int, keep, timed bool) *pool {
	p := &pool{DB: sql.OpenDB(&connector{Connector: c}), gate: make(chan struct{}, n), timed: timed}
	// The gate is the limit. One of database/sql would count connections that are
	// still being closed, and make an operation wait whatever its deadline is.
	p.SetMaxOpenConns(0)
	p.SetMaxIdleConns(n)
	if !keep {
		p.SetConnMaxIdleTime(poolIdleTime)
		p.SetConnMaxLifetime(poolLifetime)
	}
	return p
}

// use calls f when its turn has come. The context of f has the deadline of ctx,
// but is watched by nobody where that is enough to end f.
func (p *pool) use(ctx context.Context, f func(context.Context) error) (err error) {
	defer Guard(&err)
	if p.gate == nil {
		return f(ctx)
	}
	if err := ctx.Err(); err != nil {
		return err // an operation that has no time would cost a connection
	}
	select {
	case p.gate <- struct{}{}:
	default: // to ask a context for its channel starts a timer
		select {
		case p.gate <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() { <-p.gate }()
	if _, ok := ctx.Deadline(); ok && p.timed {
		ctx = deadline.Only(ctx)
	}
	return f(ctx)
}

// connector bounds the time of a connect, keeps its panics in, and makes a new
// connection end at the deadline of its first operation.
type connector struct{ driver.Connector }

func (c *connector) Connect(ctx context.Context) (conn driver.Conn, err error) {
	defer Guard(&err)
	watched, cancel := deadline.Watched(ctx, connectTimeout)
	defer cancel()
	conn, err = c.Connector.Connect(watched)
	if err != nil {
		return nil, err
	}
	if r, ok := conn.(driver.SessionResetter); ok {
		if err := r.ResetSession(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// Close is called by sql.DB.Close.
func (c *connector) Close() error {
	if closer, ok := c.Connector.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}
