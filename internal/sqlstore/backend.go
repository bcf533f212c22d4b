package sqlstore

import (
	"cmp"
	"context"
	"database/sql/driver"
	"io"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/together"
)

const (
	batch = 500 // how many rows one Sweep deletes
	loads = 4   // how many round trips for loads there are at a time: see docs/design.md
	few   = 16  // how many loads go in one of them at most
)

var (
	_ session.Backend = (*backend)(nil)
	_ io.Closer       = (*backend)(nil)
)

type backend struct {
	dialect   *Dialect
	name      name
	pool      *pool
	readers   *pool            // beside a pool of one connection, or nil
	connector driver.Connector // of readers, if there may be some

	lookups *together.Group[answer] // nil for a pool that is shared, or next door

	load, loadAll, insert, replace, swap, rename, extend, remove, sweep, sweepKeys, sweepDelete query
}

// upsert is the INSERT for databases that can tell in one statement that there
// is a live row. (A plain INSERT would write the session ID of each duplicate to
// the log of a PostgreSQL server.)
const upsert = `INSERT INTO {table} AS t ({key}, {data}, {expired_at}) VALUES (?, ?, {expiry})
ON CONFLICT ({key}) DO UPDATE SET {data} = excluded.{data}, {expired_at} = excluded.{expired_at}
WHERE t.{expired_at} <= {now}`

func newBackend(d *Dialect, p *pool, n name) *backend {
	b := &backend{dialect: d, pool: p, name: n}
	for q, template := range map[*query]string{
		&b.load:        "SELECT {data}, {left} FROM {table} WHERE {key} = ? AND {live}",
		&b.loadAll:     "SELECT {key}, {data}, {left} FROM {table} WHERE {key} IN ({few}) AND {live}",
		&b.insert:      cmp.Or(d.Insert, upsert),
		&b.replace:     "UPDATE {table} SET {data} = ?, {expired_at} = {expiry} WHERE {key} = ? AND {dead}",
		&b.swap:        "UPDATE {table} SET {data} = ?, {expired_at} = {expiry} WHERE {key} = ? AND {data} = ? AND {live}",
		&b.rename:      "UPDATE {table} SET {key} = ?, {data} = ?, {expired_at} = {expiry} WHERE {key} = ? AND {data} = ? AND {live}",
		&b.extend:      "UPDATE {table} SET {expired_at} = {expiry} WHERE {key} = ? AND {live} AND {expired_at} < {expiry}",
		&b.remove:      "DELETE FROM {table} WHERE {key} = ?",
		&b.sweep:       d.Sweep,
		&b.sweepKeys:   d.SweepKeys,
		&b.sweepDelete: d.SweepDelete,
	} {
		q.text, q.pool = d.compile(template, n), p
	}
	if d.Remote && p.gate != nil {
		b.lookups = together.New(loads, few, b.fetch)
	}
	return b
}

func (b *backend) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	data, ttl := bytesOf(rec.Data), millis(rec.TTL)
	ok, err := b.change(ctx, &b.insert, sid, data, ttl)
	if err != nil && b.dialect.class(err) == Duplicate {
		// If a sweep is faster than this, it reports a live record that is not
		// there; the portable store looks and tries again.
		return b.change(ctx, &b.replace, data, ttl, sid)
	}
	return ok, err
}

// Swap on MySQL does not count a row that already is as it should be, unless the
// connection was opened with clientFoundRows (ours are). The portable store
// finds out.
func (b *backend) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	return b.change(ctx, &b.swap, bytesOf(rec.Data), millis(rec.TTL), sid, bytesOf(old))
}

// Rename gives way to a row with the new key, even a dead one: new IDs are
// random, so there is none.
func (b *backend) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	ok, err := b.change(ctx, &b.rename, newSID, bytesOf(rec.Data), millis(rec.TTL), sid, bytesOf(old))
	if err != nil && b.dialect.class(err) == Duplicate {
		return false, nil
	}
	return ok, err
}

func (b *backend) Extend(ctx context.Context, sid string, ttl time.Duration) error {
	_, err := b.change(ctx, &b.extend, millis(ttl), sid, millis(ttl))
	return err
}

func (b *backend) Delete(ctx context.Context, sid string) error {
	_, err := b.change(ctx, &b.remove, sid)
	return err
}

// Sweep deletes by a set of keys where the database would otherwise lock all
// rows it looks at.
func (b *backend) Sweep(ctx context.Context) (more bool, err error) {
	if b.dialect.Sweep != "" {
		n, err := b.exec(ctx, &b.sweep)
		return n == batch, err
	}

	var keys []interface{}
	err = b.try(ctx, b.pool, func(ctx context.Context) error {
		keys, err = b.keys(ctx)
		return err
	})
	if err != nil || len(keys) == 0 {
		return false, err
	}
	full := len(keys) == batch
	// With nothing left to delete somebody else is sweeping too.
	n, err := b.exec(ctx, &b.sweepDelete, padded(keys, batch)...)
	return full && n > 0, err
}

// padded repeats the first key, so that one statement does for up to n of them.
func padded(keys []interface{}, n int) []interface{} {
	for len(keys) < n {
		keys = append(keys, keys[0])
	}
	return keys
}

func (b *backend) keys(ctx context.Context) (keys []interface{}, err error) {
	rows, err := b.pool.QueryContext(ctx, b.sweepKeys.text)
	if err != nil {
		return nil, err
	}
	err = scan(rows, func() error {
		var key string
		if err := rows.Scan(&key); err != nil {
			return err
		}
		keys = append(keys, key)
		return nil
	})
	return keys, err
}

// Close closes a pool that is ours, and in any case what was prepared.
func (b *backend) Close() error {
	for _, q := range []*query{
		&b.load, &b.loadAll, &b.insert, &b.replace, &b.swap, &b.rename, &b.extend, &b.remove,
		&b.sweep, &b.sweepKeys, &b.sweepDelete,
	} {
		if stmt := q.stmt.Load(); stmt != nil {
			_ = stmt.Close()
		}
	}
	for _, p := range []*pool{b.pool, b.readers} {
		if p != nil && p.gate != nil {
			_ = p.Close() // what a lost connection says to that concerns nobody
		}
	}
	return nil
}
