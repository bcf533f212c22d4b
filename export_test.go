package session

import (
	"net/http"
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

// HashedKey is hashedKey.
func HashedKey(sid string) string { return hashedKey(sid) }

// BackendOf returns the backend that NewStore made a store of.
func BackendOf(s Store) Backend { return given(s.(*recordStore).backend) }

// OnePlace gives all records that a store in HashRead has left under their hashes one place to be noted.
func OnePlace(s Store) { *s.(*recordStore).backend.(hashedBackend).left = *newRecentIDs(1) }

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
func SetKeepSpare(s Store, d time.Duration) { BackendOf(s).(*fileBackend).keepSpare = d }

// ReadIDs returns the IDs that a Manager takes from a request, in the order in which it looks
// them up.
func ReadIDs(m *Manager, r *http.Request) (ids []string) {
	for _, sid := range m.readIDs(r) {
		if sid != "" {
			ids = append(ids, sid)
		}
	}
	return ids
}

// PutInRequest makes an ID the one of the request, as the middleware does for a new session.
func PutInRequest(m *Manager, r *http.Request, sid string) {
	m.cookie.putInRequest(r, m.cookie.line(sid, 0), nil)
}

// KeepPrivate does with the header of a response what the middleware does if the response has the
// cookie, and reports whether shared caches might have kept it.
func KeepPrivate(h http.Header) (shared bool) {
	s := sharingOf(h)
	s.keepPrivate(h, nil)
	return s.may
}
