package state

import (
	"maps"
	"reflect"
	"sync"
)

// Shared is Values in a map that somebody else keeps, and that may be under several
// sessions at once: that of a store of another make. It is the only kind of Values that is
// written to.
type Shared struct {
	m  map[any]any
	mu *sync.RWMutex
}

// sharedLocks guard the maps. Sessions of one map need one lock, and know only the map.
var sharedLocks [64]sync.RWMutex

// Share returns the values of a map that somebody else keeps.
func Share(m map[any]any) Shared {
	// The low bits of an address are zero.
	return Shared{m, &sharedLocks[reflect.ValueOf(m).Pointer()>>6%uintptr(len(sharedLocks))]}
}

// Get returns the value of the key, or nil.
func (s Shared) Get(key any) any {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.m[key]
}

// Copy returns a copy.
func (s Shared) Copy() map[any]any {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return maps.Clone(s.m)
}

// Apply makes the changes of a log to the map.
func (s Shared) Apply(l *Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.Apply(s.m)
}
