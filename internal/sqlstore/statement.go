package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/flamego/session/internal/deadline"
)

// query is one statement of the backend.
type query struct {
	text string
	pool *pool
	stmt atomic.Pointer[sql.Stmt] // once it has been prepared
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

// statement returns q ready to run, prepared at its first use: the table may be
// made later than the store.
//
// MySQL takes two round trips for a text with parameters, and SQLite parses it
// each time. The driver of PostgreSQL prepares by itself, on top of which
// database/sql would prepare again.
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

// attempts calls f with the statement of a query, as try does.
func (b *backend) attempts(ctx context.Context, q *query, f func(context.Context, statement) error) error {
	return b.try(ctx, q.pool, func(ctx context.Context) error {
		stmt, err := b.statement(ctx, q)
		if err != nil {
			return err
		}
		return f(ctx, stmt)
	})
}

// exec runs a statement and returns how many rows it changed.
func (b *backend) exec(ctx context.Context, q *query, args ...interface{}) (n int64, err error) {
	err = b.attempts(ctx, q, func(ctx context.Context, stmt statement) error {
		res, err := stmt.ExecContext(ctx, args...)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}

// change runs a statement for one row and reports whether it changed it.
func (b *backend) change(ctx context.Context, q *query, args ...interface{}) (bool, error) {
	n, err := b.exec(ctx, q, args...)
	return n > 0, err
}

// try calls f, again as long as that may help. All that f may do is harmless to
// do twice: a compare fails once it has succeeded, and the portable store finds
// out whether a refusal was ours.
//
// A restart of the server leaves a pool full of broken connections, and each
// attempt removes one.
func (b *backend) try(ctx context.Context, p *pool, f func(context.Context) error) error {
	limit := 0
	for n := 0; ; n++ {
		err := p.use(ctx, f)
		if err == nil {
			return nil
		}
		if done := deadline.Err(ctx); done != nil {
			return b.ended(done, err)
		}
		if n == 0 {
			limit = p.Stats().OpenConnections + 8
		}
		switch class := b.dialect.class(err); {
		case class == Broken && n < limit:
		case class == Again && n < limit, class == Locked:
			pause(ctx, n)
		default:
			return b.fail(err)
		}
	}
}

// ended is the error of an operation whose context is done. Drivers say that in
// their own words, or do not say it.
func (b *backend) ended(done, err error) error {
	if errors.Is(err, done) {
		return b.fail(err)
	}
	return &failure{text: done.Error() + " (" + b.fail(err).Error() + ")", err: errors.Join(done, err)}
}

// fail makes the text of an error safe to show, and clear when it is the table
// that is missing.
func (b *backend) fail(err error) error {
	if err != nil && b.dialect.class(err) == NoTable {
		return &failure{text: fmt.Sprintf("there is no table %q (InitTable makes it)", b.name.table), err: err}
	}
	return b.dialect.show(err)
}

// pause waits before another attempt, longer from try to try and never quite as
// long as the others who wait.
func pause(ctx context.Context, try int) {
	select {
	case <-time.After(rand.N(min(time.Millisecond<<min(try, 6), 20*time.Millisecond))):
	case <-ctx.Done():
	}
}

// millis is d in milliseconds, rounded up.
func millis(d time.Duration) int64 {
	ms := d.Milliseconds()
	if d%time.Millisecond > 0 {
		ms++
	}
	return ms
}

// bytesOf is data as a parameter: nil would be NULL.
func bytesOf(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}
