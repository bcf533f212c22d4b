package state

import (
	"maps"
	"slices"
)

// List is Values as a list, which takes half the memory of a small map. Many values are a list
// of one pair: the key is asMap, and the value is the Map that holds them all.
//
// A list that is stored is never written to. The methods that change a list are for a log, and
// for a draft: see draft.go. As append does, they return the list that there is then.
type List []pair

type pair struct{ key, val any }

// maxList is the number of pairs in which a list finds a key as fast as a map does.
const maxList = 8

// asMap is not of size zero, as values of that size may share an address.
var asMap any = new(struct{ _ byte })

// ListOf returns a list, or a draft, that has its values in the map. Methods that change the list change
// the map, so what they return is the same list.
func ListOf(m map[any]any) List { return List{{asMap, Map(m)}} }

// large returns the Map of many values.
func (l List) large() (Map, bool) {
	if len(l) != 1 || l[0].key != asMap {
		return nil, false
	}
	m, ok := l[0].val.(Map)
	return m, ok
}

func (l List) len() int {
	if m, ok := l.large(); ok {
		return len(m)
	}
	return len(l)
}

// mustBeKey panics for a key that a map would not take, such as a slice, with the words of a map.
func mustBeKey(key any) {
	if _, ok := key.(string); !ok {
		_ = map[any]any(nil)[key]
	}
}

// find returns the place of a key among few pairs, or -1. Most keys are strings, which take a
// third of the time if they are compared as such.
func (l List) find(key any) int {
	if text, ok := key.(string); ok {
		for i := range l {
			if other, ok := l[i].key.(string); ok && other == text {
				return i
			}
		}
		return -1
	}
	for i := range l {
		if l[i].key == key {
			return i
		}
	}
	return -1
}

func (l List) get(key any) (val any, ok bool) {
	mustBeKey(key)
	if m, ok := l.large(); ok {
		val, ok = m[key]
		return val, ok
	}
	if i := l.find(key); i >= 0 {
		return l[i].val, true
	}
	return nil, false
}

func (l List) set(key, val any) List {
	mustBeKey(key)
	m, large := l.large()
	if !large {
		if i := l.find(key); i >= 0 {
			l[i].val = val
			return l
		}
		if len(l) < maxList {
			return append(l, pair{key, val})
		}
		m = l.toMap(2 * maxList)
		l = ListOf(m)
	}
	m[key] = val
	return l
}

func (l List) remove(key any) List {
	mustBeKey(key)
	if m, ok := l.large(); ok {
		delete(m, key)
		return l
	}
	if i := l.find(key); i >= 0 {
		return slices.Delete(l, i, i+1)
	}
	return l
}

// removeFunc removes the keys for which f returns true.
func (l List) removeFunc(f func(key any) bool) List {
	m, large := l.large()
	if !large {
		return slices.DeleteFunc(l, func(at pair) bool { return f(at.key) })
	}
	var kept List
	for key, val := range m {
		if !f(key) {
			kept = append(kept, pair{key, val})
		}
	}
	clear(m) // a key that is not equal to itself cannot be deleted alone
	for _, at := range kept {
		m[at.key] = at.val
	}
	return l
}

// all is for range. The list is not to be changed meanwhile.
func (l List) all(yield func(key, val any) bool) {
	m, large := l.large()
	for key, val := range m {
		if !yield(key, val) {
			return
		}
	}
	if large {
		return
	}
	for _, at := range l {
		if !yield(at.key, at.val) {
			return
		}
	}
}

// clone returns a list of the same values that may be written to.
func (l List) clone() List {
	if m, ok := l.large(); ok {
		return ListOf(maps.Clone(m))
	}
	return slices.Clone(l)
}

// toMap returns the values in a map with room for so many.
func (l List) toMap(room int) map[any]any {
	m := make(map[any]any, room)
	for key, val := range l.all {
		m[key] = val
	}
	return m
}

// Get returns the value of the key, or nil.
func (l *List) Get(key any) any {
	val, _ := l.get(key)
	return val
}

// Copy returns the values in a map with room for one more key.
func (l *List) Copy() map[any]any { return l.toMap(l.len() + 1) }
