package session

import "sync"

// MemoryLen returns how many sessions a memory store keeps, dead or alive.
func MemoryLen(s Store) int { return s.(*memoryStore).sessions.Len() }

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

// CookieOptionsError returns the error that New returns for the options of a cookie.
func CookieOptionsError(o CookieOptions) error { return o.withDefaults().check() }
