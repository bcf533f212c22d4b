// Package state is what a session holds, as data: its values, the log of what a
// request changed, and the encoding of values into the bytes of a record.
//
// # Model
//
// [Values] are what a session held when it was read. They are never written to (but for
// [Shared], which is for stores of another make), so many requests may share them. A [Log] is
// what one request did since. Whoever wants to see the session as the request does looks into
// the log first and then into the values; whoever wants to save it applies the log to a map of
// the values, which may by then be newer ones than the request has read.
//
// Nothing here knows a store. What this module keeps beside the values of an app is values,
// too, under keys of its own: see reserved.go. So is the mark of a renewal.
package state

import (
	"reflect"
	"sync"
	"time"
)

// Values is what a session held when it was read.
type Values interface {
	// Get returns the value of the key, or nil.
	Get(key any) any
	// Copy returns the values in a map that is the caller's.
	Copy() map[any]any
}

// Get returns the value of the key in v, which may be nil.
func Get(v Values, key any) any {
	if v == nil {
		return nil
	}
	return v.Get(key)
}

// Copy returns the values of v, which may be nil, in a map that is the caller's.
func Copy(v Values) map[any]any {
	if v == nil {
		return make(map[any]any)
	}
	return v.Copy()
}

// Map is Values as a map.
type Map map[any]any

// Get returns the value of the key, or nil.
func (m Map) Get(key any) any { return m[key] }

// Copy returns a copy with room for one more key, which most requests set.
func (m Map) Copy() map[any]any {
	c := make(map[any]any, len(m)+1)
	for key, val := range m {
		c[key] = val
	}
	return c
}

// Fixed reports whether none of the values can be changed in place, as an element of
// a slice can. A copy of such a map is as good as values that are decoded anew.
func (m Map) Fixed() bool {
	for _, val := range m {
		switch val.(type) {
		case nil, string, bool, int, int64, float64, time.Time:
			continue
		}
		if !isFixed(reflect.TypeOf(val)) {
			return false
		}
	}
	return true
}

// fixedStructs has for each type of struct that was seen whether it is fixed: to look through its
// fields takes memory.
var fixedStructs sync.Map

// isFixed reports whether values of a type cannot be changed in place.
func isFixed(t reflect.Type) bool {
	switch kind := t.Kind(); {
	case kind == reflect.String, kind >= reflect.Bool && kind <= reflect.Complex128, t == reflect.TypeFor[time.Time]():
		return true
	case kind == reflect.Array:
		return isFixed(t.Elem())
	case kind != reflect.Struct:
		return false
	}
	if fixed, ok := fixedStructs.Load(t); ok {
		return fixed.(bool)
	}
	fixed := true
	for i := range t.NumField() {
		fixed = fixed && isFixed(t.Field(i).Type)
	}
	fixedStructs.Store(t, fixed)
	return fixed
}
