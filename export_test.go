package session

import (
	"sync"
	"time"
)

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

// MemoryOwners returns how many values the index of a memory store knows, of all owners.
func MemoryOwners(s Store) (n int) {
	o := &s.(*memoryStore).owners
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, owned := range o.ids {
		for _, values := range owned.values {
			n += values
		}
	}
	return n
}

// OwnerText is ownerText, and IndexText is indexText.
var OwnerText, IndexText = ownerText, indexText

// SetKeepSpare sets how long a file store keeps the spare file of a live session.
func SetKeepSpare(s Store, d time.Duration) { s.(*recordStore).backend.(*fileBackend).keepSpare = d }
