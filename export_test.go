package session

import "sync"

// MemoryLen returns how many sessions a memory store keeps, dead or alive, and
// checks that its tables and rings agree.
func MemoryLen(s Store) int {
	total := 0
	for i := range s.(*memoryStore).shards {
		sh := &s.(*memoryStore).shards[i]
		sh.mu.Lock()
		linked := 0
		for _, e := range sh.buckets {
			for ; e != nil; e = e.link {
				linked++
			}
		}
		inRing := 0
		for e := sh.ring.next; e != &sh.ring; e = e.next {
			if *sh.place(e.memoryKey) != e || e.shard() != i || e.prev.next != e || e.next.prev != e {
				panic("the table and the ring of a shard disagree")
			}
			inRing++
		}
		if inRing != sh.n || linked != sh.n {
			panic("the table and the ring of a shard disagree")
		}
		total += sh.n
		sh.mu.Unlock()
	}
	return total
}

// SetRandomSource replaces the random source of IDs, and what has been drawn from
// it, until the function it returns is called.
func SetRandomSource(f func([]byte) (int, error)) (restore func()) {
	set := func(f func([]byte) (int, error)) {
		randomSource = f
		randomPool = sync.Pool{New: randomPool.New}
	}
	old := randomSource
	set(f)
	return func() { set(old) }
}

// NewID is newID.
func NewID(length int) (string, error) { return newID(length) }

// BackendOf returns what NewStore made a store of.
func BackendOf(s Store) Backend { return s.(*recordStore).backend }
