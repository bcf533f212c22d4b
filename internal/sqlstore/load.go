package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/flamego/session"
)

// answer is what the database has under a key.
type answer struct {
	data  []byte
	left  int64 // in milliseconds
	found bool
}

func (a *answer) record() session.Record {
	return session.Record{Data: a.data, TTL: time.Duration(a.left) * time.Millisecond}
}

// Load shares a round trip with other loads that come at the same time, where a round
// trip is worth saving. Without a deadline it goes alone, since a shared round trip could
// not end with the context of each load.
func (b *backend) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	var a answer
	var err error
	if _, ok := ctx.Deadline(); ok && b.lookups != nil {
		a, err = b.lookups.Get(ctx, sid)
	} else {
		a, err = b.loadSingle(ctx, sid)
	}
	return a.record(), a.found, err
}

// fetch loads up to loadBatch rows in one round trip.
func (b *backend) fetch(ctx context.Context, sids []string) ([]answer, error) {
	if len(sids) == 1 {
		a, err := b.loadSingle(ctx, sids[0])
		return []answer{a}, err
	}
	return b.loadMany(ctx, sids)
}

// loadSingle loads a row by a statement of its own, which is cheaper than loadMany. It uses
// the connection that writes while nobody else does: that connection has in its cache what it
// has written, which readers would have to read anew.
func (b *backend) loadSingle(ctx context.Context, sid string) (a answer, err error) {
	load := func(ctx context.Context, stmt statement) error {
		a = answer{} // an attempt before this may have failed halfway
		err := stmt.QueryRowContext(ctx, sid).Scan(&a.data, &a.left)
		if a.found = err == nil; errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	}
	if b.readers == nil {
		err = b.retryStatement(ctx, freely, &b.load, load)
		return a, err
	}
	err = b.pool.useFree(ctx, func(ctx context.Context) error {
		stmt, err := b.statement(ctx, &b.load)
		if err != nil {
			return err
		}
		return load(ctx, stmt)
	})
	if err != nil { // it is not free, or has failed: a reader may not
		err = b.retryStatement(ctx, freely, &b.loadBeside, load)
	}
	return a, err
}

// errOtherKey says that a row has none of the keys that were asked for. The database may
// take two keys for the same that differ in Go: a column of type CHAR pads a key, and a
// collation may ignore case.
var errOtherKey = errors.New("a row of another key")

// loadMany loads rows by one statement.
func (b *backend) loadMany(ctx context.Context, sids []string) ([]answer, error) {
	keys := make([]interface{}, len(sids), loadBatch)
	for i, sid := range sids {
		keys[i] = sid
	}
	answers := make([]answer, len(sids))
	err := b.retryStatement(ctx, freely, &b.loadAll, func(ctx context.Context, stmt statement) error {
		clear(answers) // an attempt before this may have failed halfway
		rows, err := stmt.QueryContext(ctx, padded(keys, loadBatch)...)
		if err != nil {
			return err
		}
		return scan(rows, func() error {
			var key string
			a := answer{found: true}
			if err := rows.Scan(&key, &a.data, &a.left); err != nil {
				return err
			}
			if !slices.Contains(sids, key) {
				return errOtherKey
			}
			for i, sid := range sids { // which may hold a key more than once
				if sid == key {
					answers[i] = a
				}
			}
			return nil
		})
	})
	return answers, err
}

// scan calls f for each row.
func scan(rows *sql.Rows, f func() error) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := f(); err != nil {
			return err
		}
	}
	return rows.Err()
}
