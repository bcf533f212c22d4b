package session

import (
	"context"
	"fmt"
	"hash/maphash"
	"runtime"
	"strings"
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

// memoryStore keeps live values, in shards that are locked on their own.
type memoryStore struct {
	born     time.Time // times are counted from here
	lifetime time.Duration
	writeID  IDWriter
	seed     maphash.Seed
	shards   [1 << memoryShardBits]memoryShard
}

func newMemoryStore(lifetime time.Duration, writer IDWriter) *memoryStore {
	m := &memoryStore{born: time.Now(), lifetime: lifetime, writeID: writer, seed: maphash.MakeSeed()}
	for i := range m.shards {
		m.shards[i].init()
	}
	return m
}

func (m *memoryStore) key(sid string) memoryKey {
	return memoryKey{sid: sid, hash: maphash.String(m.seed, sid)}
}

func (m *memoryStore) shard(key memoryKey) *memoryShard {
	return &m.shards[key.shard()]
}

// locked locks the shard of a session ID; the caller unlocks it.
func (m *memoryStore) locked(sid string) (*memoryShard, memoryKey) {
	key := m.key(sid)
	sh := m.shard(key)
	sh.mu.Lock()
	return sh, key
}

func (m *memoryStore) now() time.Duration { return time.Since(m.born) }

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
	sh, key := m.locked(sid)
	defer sh.mu.Unlock()
	now := m.now()
	if e := sh.live(key, now); e != nil {
		b.base, b.origin.stored = e, true
		b.origin.idle = m.lifetime - (e.expiry - now)
	}
	return b, nil
}

func (m *memoryStore) Exist(_ context.Context, sid string) bool {
	sh, key := m.locked(sid)
	defer sh.mu.Unlock()
	return sh.live(key, m.now()) != nil
}

func (m *memoryStore) Read(ctx context.Context, sid string) (Session, error) {
	return orNone(m.load(ctx, sid))
}

func (m *memoryStore) Destroy(_ context.Context, sid string) error {
	sh, key := m.locked(sid)
	defer sh.mu.Unlock()
	sh.remove(key)
	return memoryError("destroy", checkSID(sid))
}

func (m *memoryStore) Touch(_ context.Context, sid string) error {
	sh, key := m.locked(sid)
	defer sh.mu.Unlock()
	now := m.now()
	if e := sh.live(key, now); e != nil {
		sh.touch(e, now+m.lifetime)
	}
	return memoryError("touch", checkSID(sid))
}

// GC removes a bounded number of sessions at a time, so that no request waits
// long for the lock.
func (m *memoryStore) GC(ctx context.Context) error {
	for i := range m.shards {
		for m.shards[i].sweep(10, m.now()) {
			if err := ctx.Err(); err != nil {
				return memoryError("gc", err)
			}
			runtime.Gosched() // who waits for the lock would have to wait for a millisecond
		}
	}
	return nil
}

func (m *memoryStore) Save(_ context.Context, sess Session) error {
	b, err := sessionOf(sess, GobDecoder)
	if err != nil {
		return memoryError("save", err)
	}
	_, err = m.commit(b, always)
	return err
}

func (m *memoryStore) takeFlash(_ context.Context, b *BaseSession) (Flash, error) {
	b.Delete(flashKey)
	p, err := m.commit(b, ifFlash)
	return p.flash, err
}

func (m *memoryStore) giveFlash(_ context.Context, b *BaseSession, flash Flash) error {
	b.SetFlash(flash)
	_, err := m.commit(b, ifNoFlash)
	return err
}

func (m *memoryStore) commit(b *BaseSession, when condition) (*pending, error) {
	p := b.begin(m)
	p.when = when
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
	at, key := m.key(p.origin.sid), m.key(p.sid)
	from, to, unlock := m.lockBoth(at, key)
	defer unlock()

	now := m.now()
	if p.log.ended {
		from.remove(at)
		p.end()
		return
	}
	switch old := from.live(at, now); {
	case old != nil && !p.rebase(old):
		return
	case old != nil && at == key:
		key = old.memoryKey
	case old == nil && p.origin.stored && !p.orphan():
		return
	default:
		key.sid = strings.Clone(key.sid) // it may be part of a long header
	}

	e := &memoryEntry{memoryKey: key, packed: pack(dataOf(p.log.apply(p.base)))}
	if at != key {
		from.remove(at)
	}
	to.put(e, now+m.lifetime)
	p.stored(e, nil)
}

// lockBoth locks the shards of two keys, which may be one, in an order that all
// agree on.
func (m *memoryStore) lockBoth(keyA, keyB memoryKey) (a, b *memoryShard, unlock func()) {
	a, b = m.shard(keyA), m.shard(keyB)
	first, second := a, b
	if keyA.shard() > keyB.shard() {
		first, second = b, a
	}
	first.mu.Lock()
	if first != second {
		second.mu.Lock()
	}
	return a, b, func() {
		if first != second {
			second.mu.Unlock()
		}
		first.mu.Unlock()
	}
}

func memoryError(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("session: memory: %s: %w", op, err)
}
