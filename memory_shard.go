package session

import (
	"sync"
	"time"
)

// memoryShard is a part of the memory store with a lock of its own: a hash table
// whose entries are also in a ring, in order of last access. With one lifetime for
// all that is the order of expiry too, so nothing is ever searched for what has
// expired.
//
// The table is made of the entries themselves, which takes a quarter of what a
// map from ID to entry adds to each session.
type memoryShard struct {
	mu      sync.Mutex
	buckets []*memoryEntry // the number is a power of two
	n       int
	ring    memoryEntry // next is the longest idle, prev the latest
}

// memoryEntry is one session. It is also the values of the requests that have read
// it: they are never written to, a change makes another entry.
type memoryEntry struct {
	packed
	memoryKey
	expiry     time.Duration
	prev, next *memoryEntry // in the ring
	link       *memoryEntry // the next one in the bucket
}

// memoryKey is a session ID and its hash.
type memoryKey struct {
	sid  string
	hash uint64
}

// The low bits of a hash choose the shard, the others the bucket.
const memoryShardBits = 8

func (k memoryKey) shard() int { return int(k.hash % (1 << memoryShardBits)) }

const minBuckets = 8

func (sh *memoryShard) init() {
	sh.buckets = make([]*memoryEntry, minBuckets)
	sh.ring.prev, sh.ring.next = &sh.ring, &sh.ring
}

// place returns where the link to the entry of the key is, or would be.
func (sh *memoryShard) place(key memoryKey) **memoryEntry {
	at := &sh.buckets[key.hash>>memoryShardBits&uint64(len(sh.buckets)-1)]
	for *at != nil && (*at).memoryKey != key {
		at = &(*at).link
	}
	return at
}

// live returns the entry of a live session.
func (sh *memoryShard) live(key memoryKey, now time.Duration) *memoryEntry {
	e := *sh.place(key)
	if e == nil || now >= e.expiry {
		return nil
	}
	return e
}

// put makes the entry that of its key.
func (sh *memoryShard) put(e *memoryEntry, expiry time.Duration) {
	sh.remove(e.memoryKey)
	if sh.n == len(sh.buckets) {
		sh.resize(2 * sh.n)
	}
	*sh.place(e.memoryKey) = e
	sh.n++
	sh.append(e, expiry)
}

// append puts an entry that is not in the ring at its end.
func (sh *memoryShard) append(e *memoryEntry, expiry time.Duration) {
	e.expiry = expiry
	e.prev, e.next = sh.ring.prev, &sh.ring
	e.prev.next, e.next.prev = e, e
}

// touch makes an entry the latest.
func (sh *memoryShard) touch(e *memoryEntry, expiry time.Duration) {
	e.unring()
	sh.append(e, expiry)
}

func (e *memoryEntry) unring() {
	e.prev.next, e.next.prev = e.next, e.prev
}

func (sh *memoryShard) remove(key memoryKey) {
	at := sh.place(key)
	e := *at
	if e == nil {
		return
	}
	*at = e.link
	e.unring()
	e.prev, e.next, e.link = nil, nil, nil // a request may hold e for long
	if sh.n--; sh.n < len(sh.buckets)/8 && len(sh.buckets) > minBuckets {
		sh.resize(len(sh.buckets) / 2)
	}
}

// resize changes the number of buckets. Shards are many and small so that nobody
// waits long for it.
func (sh *memoryShard) resize(n int) {
	sh.buckets = make([]*memoryEntry, n)
	for e := sh.ring.next; e != &sh.ring; e = e.next {
		e.link = nil
		*sh.place(e.memoryKey) = e
	}
}

// sweep removes up to n expired sessions and reports whether there may be more.
func (sh *memoryShard) sweep(n int, now time.Duration) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for range n {
		e := sh.ring.next
		if e == &sh.ring || now < e.expiry {
			return false
		}
		sh.remove(e.memoryKey)
	}
	return true
}
