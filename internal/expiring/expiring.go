// Package expiring is a table in memory whose entries expire: the sessions of the
// memory store.
//
// # Model
//
// An entry is a key, a value, and the time at which it is dead. A dead entry is as
// good as absent, whether [Table.Sweep] has removed it or not. Values are never
// written to: an update makes another entry. So whoever has got a value may keep it;
// it goes on showing what was there.
//
// The table is cut into shards, each with a lock of its own, so that nobody waits
// for long: neither for the lock, nor for the table to grow. A shard is a hash table
// made of the entries themselves, which takes a quarter of what a map from key to
// entry would add to each.
//
// # Expiry
//
// A shard has its entries in rings as well, in the order in which they were put
// there or last extended. With one time to live for all that is the order of expiry,
// so nothing is ever searched for what is dead. Entries whose times to live differ
// by a factor of two or more are in different rings. So a dead entry waits for its
// removal behind a live one for no longer than it lived.
package expiring

import (
	"context"
	"hash/maphash"
	"runtime"
	"strings"
	"time"
)

// Table is the table. Its methods may be called in parallel.
type Table[V any] struct {
	born   time.Time // times are counted from here
	seed   maphash.Seed
	shards [1 << shardBits]shard[V]
}

// New returns an empty table.
func New[V any]() *Table[V] {
	t := &Table[V]{born: time.Now(), seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].buckets = make([]*entry[V], minBuckets)
	}
	return t
}

// Watch makes the table tell of each value that an update puts there, before it does, and of
// each value that is gone, because it was replaced, deleted or is dead. Of a value that is left
// under an old key it tells only that it is gone. The function is called while others wait, and
// must not use the table.
func (t *Table[V]) Watch(tell func(key string, value *V, there bool)) {
	for i := range t.shards {
		t.shards[i].mu.Lock()
		t.shards[i].tell = tell
		t.shards[i].mu.Unlock()
	}
}

func (t *Table[V]) now() time.Duration { return time.Since(t.born) }

func (t *Table[V]) key(text string) key {
	return key{text: text, hash: maphash.String(t.seed, text)}
}

// locked locks the shard of a key; the caller unlocks it.
func (t *Table[V]) locked(text string) (*shard[V], key) {
	k := t.key(text)
	sh := &t.shards[k.shard()]
	sh.mu.Lock()
	return sh, k
}

// Get returns the live value of the key, and the time that it has left; nil if there
// is none. The value is not to be written to.
func (t *Table[V]) Get(text string) (*V, time.Duration) {
	sh, k := t.locked(text)
	defer sh.mu.Unlock()
	now := t.now()
	if e := sh.live(k, now); e != nil {
		return &e.value, e.expiry - now
	}
	return nil, 0
}

// Extend gives the live value of the key this time to live from now on, unless it
// has more.
func (t *Table[V]) Extend(text string, ttl time.Duration) {
	sh, k := t.locked(text)
	defer sh.mu.Unlock()
	now := t.now()
	if e := sh.live(k, now); e != nil && now+ttl > e.expiry {
		e.unring()
		sh.enqueue(e, ttl, now)
	}
}

// Delete removes the key.
func (t *Table[V]) Delete(text string) {
	sh, k := t.locked(text)
	defer sh.mu.Unlock()
	sh.remove(k)
}

// Decision is what is to be done with a key. The zero Decision leaves all as it is.
type Decision[V any] struct {
	// TTL is the time to live of the value that is put.
	TTL time.Duration
	// Remove says to remove what is under the old key.
	Remove bool
	// Left is put under the old key in place of what is removed, if LeftTTL is not zero.
	Left    V
	LeftTTL time.Duration

	put *entry[V]
}

// Put returns the decision to put a value under the new key, and to remove what is under the
// old one.
func Put[V any](value V) Decision[V] { return Decision[V]{put: &entry[V]{value: value}} }

// Value returns the value that is put, as the table is going to have it.
func (d Decision[V]) Value() *V { return &d.put.value }

// Update decides and does at once, so that nobody sees or does anything in between:
// it calls decide with the live value under the old key and the time that it has left,
// nil and zero if there is none, and does what decide says. The two keys may be one.
// Update returns the value that it has put, if it has. The function must not use the
// table.
func (t *Table[V]) Update(oldKey, newKey string, decide func(now *V, left time.Duration) Decision[V]) *V {
	from := t.key(oldKey)
	to := from
	if newKey != oldKey {
		to = t.key(newKey)
	}
	sh, toShard := &t.shards[from.shard()], &t.shards[to.shard()]
	lockBoth(sh, toShard, from.shard() <= to.shard())
	defer unlockBoth(sh, toShard)

	now := t.now()
	old := sh.live(from, now)
	var val *V
	var left time.Duration
	if old != nil {
		val, left = &old.value, old.expiry-now
	}
	d := decide(val, left)
	if e := d.put; e != nil {
		if old != nil && from == to {
			e.key = old.key
		} else {
			e.key = key{strings.Clone(to.text), to.hash} // it may be part of a long header
		}
		if sh.tell != nil {
			sh.tell(e.text, &e.value, true)
		}
	}
	if d.Remove || d.put != nil && from != to {
		sh.remove(from)
		if d.LeftTTL > 0 {
			from.text = strings.Clone(from.text)
			sh.put(&entry[V]{key: from, value: d.Left}, d.LeftTTL, now)
		}
	}
	if d.put == nil {
		return nil
	}
	toShard.put(d.put, d.TTL, now)
	return &d.put.value
}

// lockBoth locks two shards, which may be one, in an order that all agree on.
func lockBoth[V any](a, b *shard[V], aFirst bool) {
	if !aFirst {
		a, b = b, a
	}
	a.mu.Lock()
	if a != b {
		b.mu.Lock()
	}
}

func unlockBoth[V any](a, b *shard[V]) {
	a.mu.Unlock()
	if a != b {
		b.mu.Unlock()
	}
}

// Sweep removes what is dead, few entries at a time, so that no request waits long
// for a lock. It returns the error of ctx if that ends it.
func (t *Table[V]) Sweep(ctx context.Context) error {
	for i := range t.shards {
		for t.shards[i].sweep(10, t.now()) {
			if err := ctx.Err(); err != nil {
				return err
			}
			runtime.Gosched() // or those who wait for the lock would wait for a millisecond
		}
	}
	return nil
}

// Len returns the number of entries, dead ones that have not been removed included.
func (t *Table[V]) Len() int {
	n := 0
	for i := range t.shards {
		t.shards[i].mu.Lock()
		n += t.shards[i].n
		t.shards[i].mu.Unlock()
	}
	return n
}
