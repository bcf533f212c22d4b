package session

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"time"
)

// MemoryConfig configures the memory store.
type MemoryConfig struct {
	// Lifetime is the duration without access after which a session is recycled.
	// Default is 3600 seconds, also for values below one second.
	Lifetime time.Duration
}

// MemoryIniter returns the Initer of the memory store, the default one. It
// takes a MemoryConfig, or none.
//
// Values are kept as they are, of whatever type, and never encoded; a value
// that is changed in place changes for every request that has it, and needs a
// lock of its own if it is. Sessions end with the process and are not shared
// with other processes. There is no limit on their size or number other than
// memory; visitors for whom nothing is stored take none.
func MemoryIniter() Initer {
	return func(_ context.Context, args ...interface{}) (Store, error) {
		config, _, writer, err := initArgs[MemoryConfig](args)
		if err != nil {
			return nil, err
		}
		return newMemoryStore(lifetimeOrDefault(config.Lifetime), writer), nil
	}
}

var _ native = (*memoryStore)(nil)

// memoryStore keeps live values: a map and a list in order of last access, in
// shards that are locked on their own. With one lifetime for all the list is in
// order of expiry too, so nothing is ever searched.
type memoryStore struct {
	lifetime time.Duration
	writeID  IDWriter
	seed     maphash.Seed
	shards   [64]memoryShard
}

type memoryShard struct {
	mu      sync.Mutex
	entries map[string]*memoryEntry
	list    memoryEntry // head of the ring: next is the longest idle, prev the latest
}

// memoryEntry is one session. Its data is shared with the requests that have
// read it and is never written to, only replaced.
type memoryEntry struct {
	sid        string
	data       Data
	expiry     time.Time
	prev, next *memoryEntry
}

func newMemoryStore(lifetime time.Duration, writer IDWriter) *memoryStore {
	m := &memoryStore{lifetime: lifetime, writeID: writer, seed: maphash.MakeSeed()}
	for i := range m.shards {
		sh := &m.shards[i]
		sh.entries = make(map[string]*memoryEntry)
		sh.list.prev, sh.list.next = &sh.list, &sh.list
	}
	return m
}

func (m *memoryStore) index(sid string) int {
	return int(maphash.String(m.seed, sid) % uint64(len(m.shards)))
}

func (m *memoryStore) shard(sid string) *memoryShard {
	return &m.shards[m.index(sid)]
}

// live returns the entry of a live session.
func (sh *memoryShard) live(sid string) *memoryEntry {
	e := sh.entries[sid]
	if e == nil || !time.Now().Before(e.expiry) {
		return nil
	}
	return e
}

// put makes data the session of the ID, accessed now.
func (sh *memoryShard) put(sid string, data Data, expiry time.Time) {
	e := sh.entries[sid]
	if e == nil {
		e = &memoryEntry{sid: sid}
		sh.entries[sid] = e
	} else {
		e.unlink()
	}
	e.data, e.expiry = data, expiry
	e.prev, e.next = sh.list.prev, &sh.list
	e.prev.next, e.next.prev = e, e
}

func (sh *memoryShard) remove(sid string) {
	if e := sh.entries[sid]; e != nil {
		e.unlink()
		delete(sh.entries, sid)
	}
}

func (e *memoryEntry) unlink() {
	e.prev.next, e.next.prev = e.next, e.prev
}

// setTimeout does nothing: no operation waits for anything.
func (m *memoryStore) setTimeout(time.Duration) {}

func (m *memoryStore) maxIdle() time.Duration { return m.lifetime }

func (m *memoryStore) fresh(sid string) *BaseSession {
	b := NewBaseSession(sid, GobEncoder, m.writeID)
	b.origin = origin{store: m, sid: sid}
	return b
}

func (m *memoryStore) load(_ context.Context, sid string) (*BaseSession, error) {
	if err := checkSID(sid); err != nil {
		return nil, memoryError("read", err)
	}
	b := m.fresh(sid)
	sh := m.shard(sid)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e := sh.live(sid); e != nil {
		b.base, b.origin.stored = e.data, true
		b.origin.idle = m.lifetime - time.Until(e.expiry)
	}
	return b, nil
}

func (m *memoryStore) Exist(_ context.Context, sid string) bool {
	sh := m.shard(sid)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.live(sid) != nil
}

func (m *memoryStore) Read(ctx context.Context, sid string) (Session, error) {
	return orNone(m.load(ctx, sid))
}

func (m *memoryStore) Destroy(_ context.Context, sid string) error {
	sh := m.shard(sid)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.remove(sid)
	return memoryError("destroy", checkSID(sid))
}

func (m *memoryStore) Touch(_ context.Context, sid string) error {
	sh := m.shard(sid)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e := sh.live(sid); e != nil {
		sh.put(sid, e.data, time.Now().Add(m.lifetime))
	}
	return memoryError("touch", checkSID(sid))
}

// GC removes a bounded number of sessions at a time, so that no request waits
// long for the lock.
func (m *memoryStore) GC(ctx context.Context) error {
	for i := range m.shards {
		for m.shards[i].sweep(100) {
			if err := ctx.Err(); err != nil {
				return memoryError("gc", err)
			}
		}
	}
	return nil
}

// sweep removes up to n expired sessions and reports whether there may be more.
func (sh *memoryShard) sweep(n int) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := time.Now()
	for range n {
		e := sh.list.next
		if e == &sh.list || now.Before(e.expiry) {
			return false
		}
		sh.remove(e.sid)
	}
	return true
}

func (m *memoryStore) Save(_ context.Context, sess Session) error {
	b, err := sessionOf(sess, GobDecoder)
	if err != nil {
		return memoryError("save", err)
	}
	_, err = m.commit(b, false)
	return err
}

func (m *memoryStore) takeFlash(_ context.Context, b *BaseSession) (Flash, error) {
	b.Delete(flashKey)
	p, err := m.commit(b, true)
	return p.flash, err
}

func (m *memoryStore) commit(b *BaseSession, take bool) (*pending, error) {
	p := b.begin(m)
	p.take = take
	err := checkSID(p.sid)
	if err == nil && !p.gone {
		m.write(p)
	}
	b.end(p, err)
	return p, memoryError("save", err)
}

// write applies the changes of p to what the session holds at this moment.
// Nobody else can write meanwhile, so nothing is ever tried twice.
func (m *memoryStore) write(p *pending) {
	from, to, unlock := m.lock(p.origin.sid, p.sid)
	defer unlock()

	if p.log.ended {
		from.remove(p.origin.sid)
		p.end()
		return
	}
	if e := from.live(p.origin.sid); e != nil {
		if !p.rebase(e.data) {
			return
		}
	} else if p.origin.stored && !p.orphan() {
		return
	}

	data := p.log.apply(p.base)
	if p.origin.sid != p.sid {
		from.remove(p.origin.sid)
	}
	to.put(p.sid, data, time.Now().Add(m.lifetime))
	p.stored(data, nil)
}

// lock locks the shards of two IDs, in an order that all agree on.
func (m *memoryStore) lock(sidA, sidB string) (a, b *memoryShard, unlock func()) {
	i, j := m.index(sidA), m.index(sidB)
	a, b = &m.shards[i], &m.shards[j]
	if i == j {
		a.mu.Lock()
		return a, b, a.mu.Unlock
	}
	first, second := a, b
	if i > j {
		first, second = b, a
	}
	first.mu.Lock()
	second.mu.Lock()
	return a, b, func() {
		second.mu.Unlock()
		first.mu.Unlock()
	}
}

func memoryError(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("session: memory: %s: %w", op, err)
}
