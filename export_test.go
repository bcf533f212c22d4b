package session

// MemoryLen returns how many sessions a memory store keeps, dead or alive, and
// checks that its maps and lists agree.
func MemoryLen(s Store) int {
	total := 0
	for i := range s.(*memoryStore).shards {
		sh := &s.(*memoryStore).shards[i]
		sh.mu.Lock()
		listed := 0
		for e := sh.list.next; e != &sh.list; e = e.next {
			if sh.entries[e.sid] != e || e.prev.next != e || e.next.prev != e {
				panic("the list and the map of a shard disagree")
			}
			listed++
		}
		if listed != len(sh.entries) {
			panic("the list and the map of a shard disagree")
		}
		total += listed
		sh.mu.Unlock()
	}
	return total
}

// SetRandomSource replaces the random source of IDs until the function it
// returns is called.
func SetRandomSource(f func([]byte) (int, error)) (restore func()) {
	old := randomSource
	randomSource = f
	return func() { randomSource = old }
}

// BackendOf returns what NewStore made a store of.
func BackendOf(s Store) Backend { return s.(*recordStore).backend }
