package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/starting"
)

// defaultMaxDataSize is that of session.NewStore.
const defaultMaxDataSize = 1 << 20

// start waits for the server, makes the table if InitTable says so, and
// lowers sc.MaxDataSize to what the table can hold.
func (b *backend) start(ctx context.Context, sc *session.StoreConfig) error {
	ping := func(ctx context.Context) error { return b.retry(ctx, b.pool, freely, b.pool.PingContext) }
	if err := starting.Wait(ctx, ping, b.dialect.mayStart); err != nil {
		return fmt.Errorf("connect: %w", b.dialect.blamed(err))
	}
	b.openReaders(ctx) // before the table, which may use up the context
	if b.mayInit {
		if err := b.initTable(ctx); err != nil {
			return fmt.Errorf("create table %q: %w", b.name.table, b.dialect.blamedTable(err))
		}
	}
	// If the query fails, the store does without the limit: the server enforces it.
	if limit, err := b.ask(ctx, b.dialect.Capacity, b.name.schema, b.name.table); err == nil && limit.Valid {
		if sc.MaxDataSize <= 0 {
			sc.MaxDataSize = defaultMaxDataSize
		}
		sc.MaxDataSize = int(min(int64(sc.MaxDataSize), max(limit.Int64, 1)))
	}
	return nil
}

// initTable makes the table and its index where they are missing.
//
// It looks for the table first, because a user who may not create tables may still use
// a table that is there. If CREATE TABLE fails, it looks once more: another process may
// have made the table meanwhile, and then even "IF NOT EXISTS" fails on some databases.
func (b *backend) initTable(ctx context.Context) error {
	exists := func() error {
		return b.run(ctx, "SELECT {key}, {data}, {expired_at} FROM {table} WHERE 1 = 0")
	}
	err := exists()
	if err != nil && b.dialect.class(err) == NoTable {
		created := b.run(ctx, b.dialect.CreateTable)
		if created != nil && b.dialect.class(created) == KeyTooLong {
			created = b.run(ctx, b.dialect.CreateShort)
		}
		if err = exists(); err != nil && created != nil {
			return created
		}
	}
	if err != nil {
		return err
	}

	// Without the index only GC is slower. The table may be large or belong to another
	// user, so a failure to make the index is no error.
	if !b.hasIndex(ctx, "expired_at") {
		_ = b.run(ctx, b.dialect.CreateIndex)
	}
	return nil
}

// hasIndex reports whether there is an index on a column. It is true also if that cannot be
// found out.
func (b *backend) hasIndex(ctx context.Context, column string) bool {
	query := strings.ReplaceAll(b.dialect.HasIndex, "{column}", column)
	n, err := b.ask(ctx, query, b.name.schema, b.name.table)
	return err != nil || n.Int64 > 0
}

// openReaders opens a second pool, of connections that only read, where one connection
// writes and others can read meanwhile.
func (b *backend) openReaders(ctx context.Context) {
	if b.maxReaders == 0 {
		return
	}
	if n, err := b.ask(ctx, b.dialect.Readers); err == nil && n.Int64 > 0 {
		b.readers = openPool(b.dialect, b.connector, b.maxReaders, true)
		b.loadBeside.pool = b.readers
	}
}

// ask returns the number that a query answers, and NULL if the query is empty.
func (b *backend) ask(ctx context.Context, template string, args ...interface{}) (n sql.NullInt64, err error) {
	if template == "" {
		return n, nil
	}
	stmt := b.plain(&query{parts: b.dialect.compile(template, b.name), pool: b.pool})
	err = b.retry(ctx, b.pool, freely, func(ctx context.Context) error {
		return stmt.QueryRowContext(ctx, args...).Scan(&n)
	})
	return n, err
}

// ServerTime returns the time of the server.
func (b *backend) ServerTime(ctx context.Context) (time.Time, error) {
	if b.dialect.Clock == "" {
		return time.Time{}, errors.ErrUnsupported
	}
	ms, err := b.ask(ctx, "SELECT "+b.dialect.Clock)
	return time.UnixMilli(ms.Int64), err
}

// run runs a statement that is needed only at start. Its result does not matter.
func (b *backend) run(ctx context.Context, template string) error {
	text := b.dialect.join(b.dialect.compile(template, b.name))
	return b.retry(ctx, b.pool, freely, func(ctx context.Context) error {
		_, err := b.pool.ExecContext(ctx, text)
		return err
	})
}
