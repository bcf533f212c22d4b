package gobmap

import (
	"bytes"
	"encoding/gob"
	"reflect"
	"slices"
	"sync"
)

// registry has the types that have been found by name. It never forgets a type, because
// gob never forgets what is registered.
var registry sync.Map // string to reflect.Type

// registered returns the Go type that is registered under a name.
//
// Gob has no function for that. So gob is given a message to decode, with the smallest
// value of the type: without elements, and without fields in structs. Then the Go type
// is that of the decoded value. The message is written here, so that gob gets nothing of
// the message that is checked but the name and the definitions, in our own words.
func (c *checker) registered(n named, ids []int32) reflect.Type {
	if t, ok := registry.Load(n.name); ok {
		t, _ := t.(reflect.Type)
		return t
	}
	w := newWriter()
	c.charge(int64(len(ids)) * costDefinition)
	c.smallest(w, n.id)
	if c.err != nil {
		return nil
	}
	if c.typeOf(n.id).kind != kindStruct {
		w.byte(0)
	}
	w.uint(uint64(w.len()))
	w.int(int64(n.id))
	w.string(n.name)
	w.byte(0) // the key is nil
	w.message(1, c.top, 0)
	if !slices.Contains(ids, c.top) {
		ids = append(ids, c.top)
	}
	for _, id := range ids {
		d := *c.typeOf(id)
		d.fields = nil
		w.define(id, "", &d)
	}

	m := make(map[interface{}]interface{})
	if err := gob.NewDecoder(bytes.NewReader(w.buf[w.pos:])).Decode(&m); err != nil {
		c.left -= costProbe
		c.fail(err)
		return nil
	}
	t := reflect.TypeOf(m[nil])
	registry.Store(n.name, t)
	return t
}

// smallest writes the smallest value of a type.
func (c *checker) smallest(w *writer, id int32) {
	c.enter()
	defer c.leave()
	d := c.typeOf(id)
	switch {
	case d != nil && d.kind == kindArray:
		for n := d.len; n > 0 && c.err == nil; n-- {
			c.charge(costNum)
			if c.smallest(w, d.elem); w.len() > len(c.raw) {
				c.fail(errShort) // the message has no room for a whole value
			}
		}
		w.uint(uint64(d.len))
	case id == idComplex:
		w.byte(0)
		w.byte(0)
	default:
		w.byte(0)
	}
}
