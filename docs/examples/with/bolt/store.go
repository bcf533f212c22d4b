package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/flamego/session"
)

// Config is what users of the store set.
type Config struct {
	// DB is the open database. It stays the caller's to close.
	DB *bolt.DB
	// Bucket is where the sessions are. It is made if it does not exist. Default is "sessions".
	Bucket string
	// Lifetime is the duration without access after which a session ends. Default is 3600
	// seconds.
	Lifetime time.Duration
}

// Initer returns the Initer of the store.
func Initer() session.Initer {
	return session.NewIniter(func(_ context.Context, c Config) (session.Backend, session.StoreConfig, error) {
		if c.DB == nil {
			return nil, session.StoreConfig{}, errors.New("bolt: no DB")
		}
		if c.Bucket == "" {
			c.Bucket = "sessions"
		}
		b := &backend{c.DB, []byte(c.Bucket)}
		err := c.DB.Update(func(tx *bolt.Tx) error {
			_, err := tx.CreateBucketIfNotExists(b.bucket)
			return err
		})
		return b, session.StoreConfig{Name: "bolt", Lifetime: c.Lifetime}, err
	})
}

// backend keeps each record under its session ID: the time of its expiry, the owner, the
// data. Each operation is one transaction. It takes milliseconds and cannot be interrupted, so
// nothing looks at the contexts.
type backend struct {
	db     *bolt.DB
	bucket []byte
}

// record is a record as it is stored.
type record struct {
	expiry time.Time
	owner  string
	data   []byte
}

func (r record) bytes() []byte {
	p := binary.BigEndian.AppendUint64(nil, uint64(r.expiry.UnixNano()))
	p = append(p, byte(len(r.owner))) // at most 190
	p = append(p, r.owner...)
	return append(p, r.data...)
}

// parse reads a record. Its data is good as long as the transaction.
func parse(p []byte) (r record, live bool) {
	if len(p) < 9 || len(p) < 9+int(p[8]) {
		return r, false
	}
	r.expiry = time.Unix(0, int64(binary.BigEndian.Uint64(p)))
	n := 9 + int(p[8])
	r.owner, r.data = string(p[9:n]), p[n:]
	return r, time.Now().Before(r.expiry)
}

// view runs f in a transaction that reads.
func (b *backend) view(f func(*bolt.Bucket) error) error {
	return b.db.View(func(tx *bolt.Tx) error { return f(tx.Bucket(b.bucket)) })
}

// change runs f in a transaction that writes. Batch waits 10 ms for other requests, so that they
// share one wait for the disk. It may run f more than once, and the last run counts.
func (b *backend) change(f func(*bolt.Bucket) error) error {
	return b.db.Batch(func(tx *bolt.Tx) error { return f(tx.Bucket(b.bucket)) })
}

func put(bucket *bolt.Bucket, sid string, rec session.Record) error {
	return bucket.Put([]byte(sid), record{time.Now().Add(rec.TTL), rec.Owner, rec.Data}.bytes())
}

func (b *backend) Load(_ context.Context, sid string) (rec session.Record, found bool, err error) {
	err = b.view(func(bucket *bolt.Bucket) error {
		var r record
		if r, found = parse(bucket.Get([]byte(sid))); found {
			rec = session.Record{Data: bytes.Clone(r.data), TTL: time.Until(r.expiry)}
		}
		return nil
	})
	return rec, found, err
}

func (b *backend) Insert(_ context.Context, sid string, rec session.Record) (written bool, err error) {
	err = b.change(func(bucket *bolt.Bucket) error {
		if _, found := parse(bucket.Get([]byte(sid))); found {
			written = false
			return nil
		}
		written = true
		return put(bucket, sid, rec)
	})
	return written, err
}

func (b *backend) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	return b.Rename(ctx, sid, sid, old, rec)
}

func (b *backend) Rename(_ context.Context, sid, newSID string, old []byte, rec session.Record) (written bool, err error) {
	err = b.change(func(bucket *bolt.Bucket) error {
		r, found := parse(bucket.Get([]byte(sid)))
		if written = found && bytes.Equal(r.data, old); !written {
			return nil
		}
		if err := bucket.Delete([]byte(sid)); err != nil {
			return err
		}
		return put(bucket, newSID, rec)
	})
	return written, err
}

func (b *backend) Extend(_ context.Context, sid string, ttl time.Duration) error {
	return b.change(func(bucket *bolt.Bucket) error {
		r, found := parse(bucket.Get([]byte(sid)))
		if expiry := time.Now().Add(ttl); found && expiry.After(r.expiry) {
			return bucket.Put([]byte(sid), record{expiry, r.owner, r.data}.bytes())
		}
		return nil
	})
}

func (b *backend) Delete(_ context.Context, sid string) error {
	return b.change(func(bucket *bolt.Bucket) error { return bucket.Delete([]byte(sid)) })
}

// Sweep looks at all records, and removes up to a thousand that are dead.
func (b *backend) Sweep(context.Context) (more bool, err error) {
	const most = 1000
	var dead [][]byte
	err = b.view(func(bucket *bolt.Bucket) error {
		c := bucket.Cursor()
		for sid, p := c.First(); sid != nil && len(dead) < most; sid, p = c.Next() {
			if _, live := parse(p); !live {
				dead = append(dead, bytes.Clone(sid))
			}
		}
		return nil
	})
	if err != nil || len(dead) == 0 {
		return false, err
	}
	return len(dead) == most, b.change(func(bucket *bolt.Bucket) error {
		for _, sid := range dead {
			if _, live := parse(bucket.Get(sid)); live {
				continue // somebody has begun a session there
			}
			if err := bucket.Delete(sid); err != nil {
				return err
			}
		}
		return nil
	})
}

// Owned makes the backend a session.OwnerIndex. It looks at all records, which is quick
// enough for some thousands. For more, keep a bucket with an entry for each owner and session.
func (b *backend) Owned(_ context.Context, owner string) (owned []session.OwnedRecord, err error) {
	err = b.view(func(bucket *bolt.Bucket) error {
		return bucket.ForEach(func(sid, p []byte) error {
			if r, live := parse(p); live && r.owner == owner {
				owned = append(owned, session.OwnedRecord{
					ID:     string(sid),
					Record: session.Record{Data: bytes.Clone(r.data), TTL: time.Until(r.expiry), Owner: r.owner},
				})
			}
			return nil
		})
	})
	return owned, err
}
