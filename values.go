package session

import (
	"maps"
	"reflect"
	"sync"
	"time"

	"github.com/flamego/session/internal/gobmap"
)

// values is what a session held when it was read: a Data, or a form of one that
// costs less. It is never written to, so that many may share it.
type values interface {
	get(key interface{}) interface{}
	len() int
	// clone returns a map of them that is the caller's, with room for more.
	clone(room int) Data
}

// dataOf returns the values as a map, not to be written to.
func dataOf(v values) Data {
	switch v := v.(type) {
	case nil:
		return nil
	case Data:
		return v
	case *encoded:
		return v.all()
	}
	return v.clone(0)
}

func (d Data) get(key interface{}) interface{} { return d[key] }
func (d Data) len() int                        { return len(d) }

func (d Data) clone(room int) Data {
	data := make(Data, len(d)+room)
	maps.Copy(data, d)
	return data
}

// packed is a Data as a list, which for a small one takes half of the memory.
type packed []struct{ key, val interface{} }

// maxPacked is how many keys are as fast to find in a list as in a map.
const maxPacked = 8

// whole is the only key in the list of a larger Data, and that is its value.
var whole interface{} = new(struct{ _ byte })

func pack(d Data) packed {
	if len(d) > maxPacked {
		return packed{{whole, d}}
	}
	p := make(packed, 0, len(d))
	for key, val := range d {
		p = append(p, struct{ key, val interface{} }{key, val})
	}
	return p
}

func (p packed) large() (Data, bool) {
	if len(p) == 1 && p[0].key == whole {
		return p[0].val.(Data), true
	}
	return nil, false
}

func (p packed) get(key interface{}) interface{} {
	if d, ok := p.large(); ok {
		return d[key]
	}
	for i := range p {
		if p[i].key == key {
			return p[i].val
		}
	}
	return nil
}

func (p packed) len() int {
	if d, ok := p.large(); ok {
		return len(d)
	}
	return len(p)
}

func (p packed) clone(room int) Data {
	if d, ok := p.large(); ok {
		return d.clone(room)
	}
	data := make(Data, len(p)+room)
	for i := range p {
		data[p[i].key] = p[i].val
	}
	return data
}

// encoded is the bytes of a record, which are decoded as far as somebody asks for
// what is in them. What is written back is decoded anew if a handler has got hold of
// a value that can be changed in place: that is no change of the session.
type encoded struct {
	raw      []byte
	store    *recordStore
	index    gobmap.Index // of raw, while data is nil
	hasFlash bool         // the same

	mu    sync.Mutex
	data  Data // all values, if they have been decoded
	shown bool // values of data that can be changed in place are known to others
}

func (e *encoded) get(key interface{}) interface{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.data == nil {
		if key == flashKey && !e.hasFlash {
			return nil
		}
		if name, ok := key.(string); ok {
			if val, ok := e.index.Get(e.raw, name); ok {
				return val
			}
		}
		e.open()
	}
	val := e.data[key]
	e.shown = e.shown || !isFixed(val)
	return val
}

// open decodes all, for the caller who has the lock.
func (e *encoded) open() {
	if e.data == nil {
		e.data, _ = e.store.decode(e.raw) // which can be decoded, or data would be there
	}
}

func (e *encoded) all() Data {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open()
	return e.data
}

func (e *encoded) len() int { return len(e.all()) }

func (e *encoded) clone(room int) Data {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.data == nil || e.shown {
		if data, err := e.store.decode(e.raw); err == nil && data != nil {
			return data
		}
	}
	return e.data.clone(room)
}

// isFixed reports whether a value cannot be changed in place.
func isFixed(val interface{}) bool {
	if _, ok := val.(time.Time); ok || val == nil {
		return true
	}
	kind := reflect.TypeOf(val).Kind()
	return kind == reflect.String || kind >= reflect.Bool && kind <= reflect.Complex128
}

// overlay is values with changes laid over them.
type overlay struct {
	base values
	log  changes
}

func (o *overlay) get(key interface{}) interface{} { return o.log.get(o.base, key) }
func (o *overlay) len() int                        { return o.log.apply(o.base).len() }
func (o *overlay) clone(room int) Data             { return o.log.apply(o.base).clone(room) }
