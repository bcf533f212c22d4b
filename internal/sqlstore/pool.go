package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"time"

	"github.com/flamego/session/internal/deadline"
)

// The settings of a pool that the store opens. 16 connections serve thousands of
// requests a second, and leave room for other instances of the app on a server that
// allows 100 or 151 connections, as PostgreSQL and MySQL do by default. Connections are
// renewed now and then, so that a server behind a load balancer can be taken out of
// service.
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
	slots chan struct{} // holds an element for each operation; nil if DB is shared
	timed bool          // Dialect.Timed
}

// openPool opens a pool of n connections, which are kept for good or renewed.
func openPool(c driver.Connector, n int, keep, timed bool) *pool {
	p := &pool{DB: sql.OpenDB(&connector{Connector: c}), slots: make(chan struct{}, n), timed: timed}
	// The slots limit the connections. The limit of database/sql would count those that
	// are still being closed, and make an operation wait beyond its deadline.
	p.SetMaxOpenConns(0)
	p.SetMaxIdleConns(n)
	if !keep {
		p.SetConnMaxIdleTime(poolIdleTime)
		p.SetConnMaxLifetime(poolLifetime)
	}
	return p
}

// use calls f when there is a connection for it. The context of f has the deadline of
// ctx. Where the deadline alone is enough to end f, the context of f is never done.
func (p *pool) use(ctx context.Context, f func(context.Context) error) (err error) {
	defer Guard(&err)
	if p.slots == nil {
		return f(ctx)
	}
	if err := ctx.Err(); err != nil {
		return err // an operation that has no time left would break a connection
	}
	select {
	case p.slots <- struct{}{}:
	default: // ctx.Done may start a timer, so it is called only by those who wait
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() { <-p.slots }()
	if _, ok := ctx.Deadline(); ok && p.timed {
		ctx = deadline.WithoutDone(ctx)
	}
	return f(ctx)
}

// connector makes connections within a time limit, turns panics into errors, and gives
// a new connection the deadline of its first operation.
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
