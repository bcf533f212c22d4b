package session

import (
	"maps"
	"sync"
)

// values is what a session held when it was read: a Data, or a form of one that
// costs less. It is never written to, so that many may share it.
type values interface {
	get(key interface{}) interface{}
	len() int
	copyTo(data Data)
}

// dataOf returns the values as a map, not to be written to.
func dataOf(v values) Data {
	switch v := v.(type) {
	case nil:
		return nil
	case Data:
		return v
	case *encoded:
		return v.decode()
	}
	data := make(Data, v.len())
	v.copyTo(data)
	return data
}

func (d Data) get(key interface{}) interface{} { return d[key] }
func (d Data) len() int                        { return len(d) }
func (d Data) copyTo(data Data)                { maps.Copy(data, d) }

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

func (p packed) copyTo(data Data) {
	if d, ok := p.large(); ok {
		maps.Copy(data, d)
		return
	}
	for i := range p {
		data[p[i].key] = p[i].val
	}
}

// encoded is a message of gob that is known to be a good one and is decoded when
// somebody asks for more than whether there is a flash in it.
type encoded struct {
	raw      []byte
	hasFlash bool
	once     sync.Once
	data     Data
}

func (e *encoded) decode() Data {
	e.once.Do(func() { e.data, _ = GobDecoder(e.raw) })
	return e.data
}

func (e *encoded) get(key interface{}) interface{} {
	if key == flashKey && !e.hasFlash {
		return nil
	}
	return e.decode()[key]
}

func (e *encoded) len() int         { return len(e.decode()) }
func (e *encoded) copyTo(data Data) { maps.Copy(data, e.decode()) }

// overlay is values with changes laid over them.
type overlay struct {
	base values
	log  changes
}

func (o *overlay) get(key interface{}) interface{} { return o.log.get(o.base, key) }
func (o *overlay) len() int                        { return dataOf(o.log.apply(o.base)).len() }
func (o *overlay) copyTo(data Data)                { o.log.apply(o.base).copyTo(data) }
