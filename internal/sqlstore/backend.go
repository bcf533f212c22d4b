package sqlstore

import (
	"cmp"
	"context"
	"database/sql/driver"
	"io"
	"sync/atomic"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/together"
	"github.com/flamego/session/internal/ttl"
)

const (
	sweepBatch = 500 // how many rows one Sweep deletes at most
	loadBatch  = 16  // how many sessions one round trip loads at most

	// There are a quarter as many of these round trips at a time as connections. With so
	// few, loads that come at the same time share round trips. They are served faster
	// than by one round trip each over all connections. The figures are in
	// docs/benchmarks.md, "Experiments".
	loadShare = 4
)

var (
	_ session.Backend     = (*backend)(nil)
	_ session.ServerClock = (*backend)(nil)
	_ io.Closer           = (*backend)(nil)
)

type backend struct {
	dialect   *Dialect
	name      name
	pool      *pool
	readers   *pool            // where pool is one connection that writes; else nil
	connector driver.Connector // makes the connections of readers; nil if there are none

	maxReaders int                       // how many connections readers may have
	unprepared atomic.Pointer[time.Time] // nothing is prepared before that; nil for no time
	mayInit    bool                      // Config.InitTable
	owners     bool                      // writes set the owner: see InitOwners

	lookups *together.Group[answer] // nil for a pool that is shared, and without Dialect.Remote

	load, loadBeside, loadAll, owned, insert, replace, swap, rename, extend, remove, sweep, sweepKeys, sweepDelete query
}

func newBackend(d *Dialect, p *pool, n name) *backend {
	b := &backend{dialect: d, pool: p, name: n}
	b.compileWrites()
	load := "SELECT {data}, {left} FROM {table} WHERE {key} = ? AND {live}"
	for q, template := range map[*query]string{
		&b.load:        load,
		&b.loadBeside:  load,
		&b.loadAll:     "SELECT {key}, {data}, {left} FROM {table} WHERE {key} IN ({load keys}) AND {live}",
		&b.owned:       "SELECT {key}, {data}, {left} FROM {table} WHERE {owner} = {owner value} AND {live}",
		&b.extend:      "UPDATE {table} SET {expired_at} = {expiry} WHERE {key} = ? AND {live} AND {expires} < {until}",
		&b.remove:      "DELETE FROM {table} WHERE {key} = ?",
		&b.sweep:       d.Sweep,
		&b.sweepKeys:   d.SweepKeys,
		&b.sweepDelete: d.SweepDelete,
	} {
		b.compile(q, template)
	}
	if d.Remote && p.connector != nil {
		b.lookups = together.New(max(1, p.gate.most/loadShare), loadBatch, b.fetch)
	}
	return b
}

// compileWrites makes the statements that set an owner after InitOwners.
func (b *backend) compileWrites() {
	for q, template := range map[*query]string{
		&b.insert:  cmp.Or(b.dialect.Insert, upsert),
		&b.replace: "UPDATE {table} SET {data} = ?, {expired_at} = {expiry}{, owner = value} WHERE {key} = ? AND {dead}",
		&b.swap:    "UPDATE {table} SET {data} = ?, {expired_at} = {expiry}{, owner = value} WHERE {key} = ? AND {data} = ? AND {live}",
		&b.rename:  "UPDATE {table} SET {key} = ?, {data} = ?, {expired_at} = {expiry}{, owner = value} WHERE {key} = ? AND {data} = ? AND {live}",
	} {
		b.compile(q, template)
	}
}

func (b *backend) compile(q *query, template string) {
	q.parts, q.pool = b.dialect.compile(withOwner(template, b.owners), b.name), b.pool
	q.text = b.dialect.join(q.parts)
	if stmt := q.stmt.Swap(nil); stmt != nil { // of the text before
		_ = stmt.Close()
	}
}

func (b *backend) Insert(ctx context.Context, sid string, rec session.Record) (ok bool, err error) {
	data, ms := bytesOf(rec.Data), ttl.Millis(rec.TTL)
	if b.owners {
		ok, err = b.change(ctx, once, &b.insert, sid, data, ms, b.ownerOf(rec))
	} else {
		ok, err = b.change(ctx, once, &b.insert, sid, data, ms)
	}
	if err == nil || b.dialect.class(err) != Duplicate {
		return ok, err
	}
	// If a sweep deletes the dead row before replace finds it, replace changes no row, as
	// if there were a live one. The portable store looks, and tries again.
	if b.owners {
		return b.change(ctx, once, &b.replace, data, ms, b.ownerOf(rec), sid)
	}
	return b.change(ctx, once, &b.replace, data, ms, sid)
}

// Swap may change no row because the row already holds the new data: MySQL counts such
// a row only on connections with clientFoundRows. Those that the store opens have it;
// for a pool that is shared, the portable store finds out.
func (b *backend) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	if b.owners {
		return b.change(ctx, once, &b.swap, bytesOf(rec.Data), ttl.Millis(rec.TTL), b.ownerOf(rec), sid, bytesOf(old))
	}
	return b.change(ctx, once, &b.swap, bytesOf(rec.Data), ttl.Millis(rec.TTL), sid, bytesOf(old))
}

// Rename fails if there is a row with the new key, even a dead row. New IDs are random,
// so there is none.
func (b *backend) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (ok bool, err error) {
	if b.owners {
		ok, err = b.change(ctx, once, &b.rename, newSID, bytesOf(rec.Data), ttl.Millis(rec.TTL), b.ownerOf(rec), sid, bytesOf(old))
	} else {
		ok, err = b.change(ctx, once, &b.rename, newSID, bytesOf(rec.Data), ttl.Millis(rec.TTL), sid, bytesOf(old))
	}
	if err != nil && b.dialect.class(err) == Duplicate {
		return false, nil
	}
	return ok, err
}

func (b *backend) Extend(ctx context.Context, sid string, left time.Duration) error {
	ms := ttl.Millis(left)
	_, err := b.change(ctx, freely, &b.extend, ms, sid, ms)
	return err
}

func (b *backend) Delete(ctx context.Context, sid string) error {
	_, err := b.change(ctx, freely, &b.remove, sid)
	return err
}

// Sweep deletes by a set of keys where a DELETE by expired_at would lock all rows that
// it looks at.
func (b *backend) Sweep(ctx context.Context) (more bool, err error) {
	if b.dialect.Sweep != "" {
		n, err := b.exec(ctx, freely, &b.sweep)
		return n == sweepBatch, err
	}

	var keys []interface{}
	err = b.retry(ctx, b.pool, freely, func(ctx context.Context) error {
		keys, err = b.keys(ctx)
		return err
	})
	if err != nil || len(keys) == 0 {
		return false, err
	}
	full := len(keys) == sweepBatch
	n, err := b.exec(ctx, freely, &b.sweepDelete, padded(keys, sweepBatch)...)
	// If none of the rows is left, another process is sweeping: leave the rest to it.
	return full && n > 0, err
}

// padded repeats the first key until there are n keys, as one prepared statement has a
// fixed number of parameters.
func padded(keys []interface{}, n int) []interface{} {
	for len(keys) < n {
		keys = append(keys, keys[0])
	}
	return keys
}

// keys reads the keys of dead rows.
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

// Close closes the prepared statements, and the pools that the store has opened.
func (b *backend) Close() error {
	for _, q := range []*query{
		&b.load, &b.loadBeside, &b.loadAll, &b.owned, &b.insert, &b.replace, &b.swap, &b.rename, &b.extend, &b.remove,
		&b.sweep, &b.sweepKeys, &b.sweepDelete,
	} {
		if stmt := q.stmt.Load(); stmt != nil {
			_ = stmt.Close()
		}
	}
	for _, p := range []*pool{b.pool, b.readers} {
		if p != nil && p.connector != nil {
			_ = p.Close() // an error here is that of a lost connection
		}
	}
	return nil
}
