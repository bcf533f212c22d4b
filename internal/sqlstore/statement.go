package sqlstore

import (
	"context"
	"database/sql"
	"sync/atomic"
	"time"
)

// unpreparedTime is how long a store prepares nothing after the server has refused to.
const unpreparedTime = time.Minute

// query is one statement of the backend.
type query struct {
	parts []string // of the text, with a parameter between any two
	text  string
	pool  *pool
	stmt  atomic.Pointer[sql.Stmt] // nil until the query is prepared
}

// statement is a query that is ready to run, a *sql.Stmt for example.
type statement interface {
	ExecContext(ctx context.Context, args ...interface{}) (sql.Result, error)
	QueryContext(ctx context.Context, args ...interface{}) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, args ...interface{}) *sql.Row
}

// unprepared is a statement that the driver gets as text.
type unprepared struct {
	db interface { // a pool or a connection
		ExecContext(ctx context.Context, query string, args ...interface{}) (sql.Result, error)
		QueryContext(ctx context.Context, query string, args ...interface{}) (*sql.Rows, error)
		QueryRowContext(ctx context.Context, query string, args ...interface{}) *sql.Row
	}
	text string
}

func (u unprepared) ExecContext(ctx context.Context, args ...interface{}) (sql.Result, error) {
	return u.db.ExecContext(ctx, u.text, args...)
}

func (u unprepared) QueryContext(ctx context.Context, args ...interface{}) (*sql.Rows, error) {
	return u.db.QueryContext(ctx, u.text, args...)
}

func (u unprepared) QueryRowContext(ctx context.Context, args ...interface{}) *sql.Row {
	return u.db.QueryRowContext(ctx, u.text, args...)
}

// literal is a statement whose arguments are put into its text, because a driver would
// prepare a statement that has any.
type literal struct {
	dialect *Dialect
	query   *query
}

func (l literal) ExecContext(ctx context.Context, args ...interface{}) (sql.Result, error) {
	return l.query.pool.ExecContext(ctx, l.dialect.inline(l.query.parts, args))
}

func (l literal) QueryContext(ctx context.Context, args ...interface{}) (*sql.Rows, error) {
	return l.query.pool.QueryContext(ctx, l.dialect.inline(l.query.parts, args))
}

func (l literal) QueryRowContext(ctx context.Context, args ...interface{}) *sql.Row {
	return l.query.pool.QueryRowContext(ctx, l.dialect.inline(l.query.parts, args))
}

// plain returns q ready to run without preparing it.
func (b *backend) plain(q *query) statement {
	if b.dialect.Literal != nil {
		return literal{b.dialect, q}
	}
	return unprepared{q.pool.DB, b.dialect.join(q.parts)}
}

// statement returns q ready to run. It prepares q at its first use rather than at start,
// because the table may be made later than the store.
//
// MySQL needs two round trips for a query with parameters that is not prepared, and
// SQLite parses such a query each time. The driver of PostgreSQL prepares by itself;
// database/sql would only prepare once more.
func (b *backend) statement(ctx context.Context, q *query) (statement, error) {
	if !b.dialect.Prepare {
		return unprepared{q.pool.DB, q.text}, nil
	}
	if until := b.unprepared.Load(); until != nil && time.Now().Before(*until) {
		return b.plain(q), nil
	}
	if stmt := q.stmt.Load(); stmt != nil {
		return stmt, nil
	}
	stmt, err := q.pool.PrepareContext(ctx, q.text)
	if err != nil {
		return nil, unsentError{err}
	}
	if !q.stmt.CompareAndSwap(nil, stmt) {
		_ = stmt.Close()
		stmt = q.stmt.Load()
	}
	return stmt, nil
}

// retryStatement calls f with the statement of q, and again as long as that is right and
// may help: see retry. If the server prepares nothing any more, neither for this statement
// nor for this connection, f gets the statement unprepared.
func (b *backend) retryStatement(ctx context.Context, m mode, q *query, f func(context.Context, statement) error) error {
	return b.retry(ctx, q.pool, m, func(ctx context.Context) error {
		if m == once && q.pool.connector == nil && !b.dialect.Prepare {
			return onConn(ctx, q, f)
		}
		stmt, err := b.statement(ctx, q)
		if err == nil {
			err = f(ctx, stmt)
		}
		if err != nil && b.dialect.class(err) == Unprepared {
			until := time.Now().Add(unpreparedTime)
			b.unprepared.Store(&until)
			return f(ctx, b.plain(q))
		}
		return err
	})
}

// onConn calls f with a statement on one connection. A pool sends a statement again after
// driver.ErrBadConn, which a driver of the app, such as lib/pq, may return although the
// statement was sent.
func onConn(ctx context.Context, q *query, f func(context.Context, statement) error) error {
	conn, err := q.pool.Conn(ctx)
	if err != nil {
		return unsentError{err}
	}
	defer func() { _ = conn.Close() }()
	return f(ctx, unprepared{conn, q.text})
}

// exec runs a statement and returns how many rows it changed.
func (b *backend) exec(ctx context.Context, m mode, q *query, args ...interface{}) (n int64, err error) {
	err = b.retryStatement(ctx, m, q, func(ctx context.Context, stmt statement) error {
		res, err := stmt.ExecContext(ctx, args...)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}

// change runs a statement for one row and reports whether the row was changed.
func (b *backend) change(ctx context.Context, m mode, q *query, args ...interface{}) (bool, error) {
	n, err := b.exec(ctx, m, q, args...)
	return n > 0, err
}

// bytesOf is data as a parameter. A nil slice would be NULL.
func bytesOf(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}
