package expiring

import (
	"math/bits"
	"sync"
	"time"
)

// shard is a part of the table with a lock of its own.
type shard[V any] struct {
	mu      sync.Mutex
	buckets []*entry[V] // the number is a power of two
	n       int
	rings   []*ring[V] // one for each class of times to live that there has been
	tell    func(key string, value *V, there bool)
}

// entry is one key with its value.
type entry[V any] struct {
	value V
	key
	expiry     time.Duration
	prev, next *entry[V] // in the ring
	link       *entry[V] // the next one in the bucket
}

// key is a key and its hash.
type key struct {
	text string
	hash uint64
}

// The low bits of a hash choose the shard, the others the bucket.
const shardBits = 8

func (k key) shard() int { return int(k.hash % (1 << shardBits)) }

const minBuckets = 8

// ring is the entries of one class of times to live. The next of head is the one
// that was put there or extended first.
type ring[V any] struct {
	class int
	head  entry[V]
}

// class is the same for times to live between one power of two, in seconds, and the
// next.
func class(ttl time.Duration) int { return bits.Len64(uint64(max(ttl, 0) / time.Second)) }

// ring returns the ring of a time to live.
func (sh *shard[V]) ring(ttl time.Duration) *ring[V] {
	c := class(ttl)
	for _, r := range sh.rings {
		if r.class == c {
			return r
		}
	}
	r := &ring[V]{class: c}
	r.head.prev, r.head.next = &r.head, &r.head
	sh.rings = append(sh.rings, r)
	return r
}

// place returns where the link to the entry of the key is, or would be.
func (sh *shard[V]) place(k key) **entry[V] {
	at := &sh.buckets[k.hash>>shardBits&uint64(len(sh.buckets)-1)]
	for *at != nil && (*at).key != k {
		at = &(*at).link
	}
	return at
}

// live returns the entry of the key unless it is dead.
func (sh *shard[V]) live(k key, now time.Duration) *entry[V] {
	e := *sh.place(k)
	if e == nil || now >= e.expiry {
		return nil
	}
	return e
}

// put makes the entry that of its key.
func (sh *shard[V]) put(e *entry[V], ttl, now time.Duration) {
	at := sh.place(e.key)
	if *at != nil {
		sh.take(at)
		e.link, *at = *at, e
	} else {
		if sh.n == len(sh.buckets) {
			sh.resize(2 * sh.n)
			at = sh.place(e.key)
		}
		*at = e
	}
	sh.n++
	sh.enqueue(e, ttl, now)
}

// enqueue puts an entry that is in no ring at the end of its ring.
func (sh *shard[V]) enqueue(e *entry[V], ttl, now time.Duration) {
	head := &sh.ring(ttl).head
	e.expiry = now + ttl
	e.prev, e.next = head.prev, head
	e.prev.next, e.next.prev = e, e
}

func (e *entry[V]) unring() {
	e.prev.next, e.next.prev = e.next, e.prev
}

// remove removes the entry of the key.
func (sh *shard[V]) remove(k key) {
	at := sh.place(k)
	if *at == nil {
		return
	}
	sh.take(at)
	if sh.n < len(sh.buckets)/8 && len(sh.buckets) > minBuckets {
		sh.resize(len(sh.buckets) / 2)
	}
}

// take takes an entry out of its bucket and its ring. A request may hold its value for long,
// which keeps the entry in memory. So the links of the entry are cleared, or they would keep
// others in memory, too.
func (sh *shard[V]) take(at **entry[V]) {
	e := *at
	if sh.tell != nil {
		sh.tell(e.text, &e.value, false)
	}
	*at = e.link
	e.unring()
	e.prev, e.next, e.link = nil, nil, nil
	sh.n--
}

// resize changes the number of buckets. Shards are many and small so that nobody
// waits long for it.
func (sh *shard[V]) resize(n int) {
	sh.buckets = make([]*entry[V], n)
	for _, r := range sh.rings {
		for e := r.head.next; e != &r.head; e = e.next {
			e.link = nil
			*sh.place(e.key) = e
		}
	}
}

// sweep removes up to n dead entries and reports whether there may be more.
func (sh *shard[V]) sweep(n int, now time.Duration) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, r := range sh.rings {
		for r.head.next != &r.head && now >= r.head.next.expiry {
			if n--; n < 0 {
				return true
			}
			sh.remove(r.head.next.key)
		}
	}
	return false
}
