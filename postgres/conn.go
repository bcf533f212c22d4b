package postgres

import (
	"context"
	"database/sql/driver"

	"github.com/jackc/pgx/v4/stdlib"

	"github.com/flamego/session/internal/deadline"
	"github.com/flamego/session/internal/sqlstore"
)

var (
	_ driver.ExecerContext   = (*conn)(nil)
	_ driver.QueryerContext  = (*conn)(nil)
	_ driver.Pinger          = (*conn)(nil)
	_ driver.SessionResetter = (*conn)(nil)
	_ driver.Validator       = (*conn)(nil)
)

// conn is a connection that has the deadline of the operation, and turns panics of pgx
// into errors.
//
// It recovers around each call of pgx. To recover around the calls of database/sql would
// not be enough, because database/sql closes rows in a goroutine of its own when a
// context is done. After a panic the state of the connection is unknown, so IsValid
// keeps it out of the pool.
//
// When an operation fails halfway, pgx closes the connection in another goroutine, with
// another deadline. That deadline is left alone.
type conn struct {
	*stdlib.Conn
	panicked bool
}

// guarded calls f, which may read what the server sends.
func guarded[T any](c *conn, f func() (T, error)) (result T, err error) {
	c.panicked = true
	defer sqlstore.Guard(&err)
	result, err = f()
	c.panicked = false
	return result, err
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return guarded(c, func() (driver.Result, error) { return c.Conn.ExecContext(ctx, query, args) })
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	r, err := guarded(c, func() (driver.Rows, error) { return c.Conn.QueryContext(ctx, query, args) })
	if err != nil {
		return nil, err
	}
	return rows{r, c}, nil
}

func (c *conn) Ping(ctx context.Context) error {
	_, err := guarded(c, func() (any, error) { return nil, c.Conn.Ping(ctx) })
	return err
}

// ResetSession is called before each operation, with its context.
func (c *conn) ResetSession(ctx context.Context) error {
	if c.Conn.Conn().IsClosed() {
		return driver.ErrBadConn
	}
	if err := deadline.Set(c.Conn.Conn().PgConn().Conn(), ctx); err != nil {
		return driver.ErrBadConn
	}
	return c.Conn.ResetSession(ctx)
}

func (c *conn) Close() error {
	if inner := c.Conn.Conn(); !inner.IsClosed() {
		_ = deadline.Set(inner.PgConn().Conn(), context.Background()) // Close sets a deadline of its own
	}
	_, err := guarded(c, func() (any, error) { return nil, c.Conn.Close() })
	return err
}

func (c *conn) IsValid() bool { return !c.panicked }

// rows are rows that are read from a conn, whose panics they turn into errors too.
type rows struct {
	driver.Rows
	conn *conn
}

func (r rows) Next(dest []driver.Value) error {
	_, err := guarded(r.conn, func() (any, error) { return nil, r.Rows.Next(dest) })
	return err
}

func (r rows) Close() error {
	_, err := guarded(r.conn, func() (any, error) { return nil, r.Rows.Close() })
	return err
}
