package sqlstore

import (
	"context"
	"database/sql"
	"sync/atomic"
)

// query is one statement of the backend.
type query struct {
	text string
	pool *pool
	stmt atomic.Pointer[sql.Stmt] // nil until the query is prepared
}

// statement is a query that is ready to run, a *sql.Stmt for example.
type statement interface {
	ExecContext(ctx context.Context, args ...interface{}) (sql.Result, error)
	QueryContext(ctx context.Context, args ...interface{}) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, args ...interface{}) *sql.Row
}

// unprepared is a statement that the driver gets as text.
type unprepared struct {
	db   *sql.DB
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
	if stmt := q.stmt.Load(); stmt != nil {
		return stmt, nil
	}
	stmt, err := q.pool.PrepareContext(ctx, q.text)
	if err != nil {
		return nil, err
	}
	if !q.stmt.CompareAndSwap(nil, stmt) {
		_ = stmt.Close()
		stmt = q.stmt.Load()
	}
	return stmt, nil
}

// retryStatement calls f with the statement of q, and again as long as that may help:
// see retry.
func (b *backend) retryStatement(ctx context.Context, q *query, f func(context.Context, statement) error) error {
	return b.retry(ctx, q.pool, func(ctx context.Context) error {
		stmt, err := b.statement(ctx, q)
		if err != nil {
			return err
		}
		return f(ctx, stmt)
	})
}

// exec runs a statement and returns how many rows it changed.
func (b *backend) exec(ctx context.Context, q *query, args ...interface{}) (n int64, err error) {
	err = b.retryStatement(ctx, q, func(ctx context.Context, stmt statement) error {
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
func (b *backend) change(ctx context.Context, q *query, args ...interface{}) (bool, error) {
	n, err := b.exec(ctx, q, args...)
	return n > 0, err
}

// bytesOf is data as a parameter. A nil slice would be NULL.
func bytesOf(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}
