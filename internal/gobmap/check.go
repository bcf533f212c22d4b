package gobmap

import (
	"errors"
	"reflect"
	"slices"
)

// What gob allocates, rounded up from measurements. For a struct it is twice the size of
// the type in Go, as gob decodes a value in one place and copies it to another.
const (
	costPlan  = 1024 // to prepare the decoding of a type, or of a field
	costNamed = 128  // for the value of an interface
	costNum   = 16   // or an empty string, a nil
	costBytes = 96
	costList  = 128
	costDict  = 512
	costPair  = 96  // for a pair in a map, beside its key and its element
	costGob   = 384 // for a type that decodes itself
)

// Check returns nil if it is safe to let encoding/gob decode the message into a map that
// has been made. That does not mean that gob can decode the message. The types in types.go
// that gob will look up are registered.
func Check(raw []byte) error {
	c := newChecker(raw, budget(raw))
	c.depth = -1 // the map itself does not count as a level
	c.value(c.top, nil, false)
	return c.err
}

// newChecker returns a checker that is at the number of pairs in the message.
func newChecker(raw []byte, budget int64) *checker {
	c := &checker{
		cursor:  newCursor(raw),
		planned: make(map[named]reflect.Type),
		structs: make(map[layout][]reflect.Type),
		refused: make(map[named]error),
	}
	c.left = budget
	c.charge(2 * int64(len(raw))) // gob reads a copy
	c.top = c.begin()
	return c
}

// begin reads what stands before the number of pairs, and returns the ID of the type of
// the data.
func (c *cursor) begin() (top int32) {
	top = c.typeSequence(false)
	if !dataCodec.match(c, top) {
		c.fail(errors.New("the message holds no map[interface {}]interface {}"))
	}
	c.zero()
	return top
}

// A checker goes through a message as gob does.
//
// For a struct in the message, what gob does depends on the Go type that it decodes into:
// if the Go type lacks a field, gob skips the field, which is not the same as decoding
// it. So the checker looks up the Go type. It does without, and has nil for the type,
// where the message alone says what gob does: for values that are skipped, and for values
// without structs (other than structs in interfaces, which are values of their own).
type checker struct {
	cursor
	top     int32                     // the ID of the type of the data
	planned map[named]reflect.Type    // the types for which gob is prepared
	structs map[layout][]reflect.Type // the types of the fields, nil for a field that is skipped
	refused map[named]error           // the types that gob cannot decode, or not within the limits
}

// A named is a type in the message, with the name under which the Go type is registered
// that gob decodes it into.
type named struct {
	name string
	id   int32
}

// A layout is a struct in the message, with the Go type that gob decodes it into. If the
// Go type is nil, gob skips the struct.
type layout struct {
	id  int32
	typ reflect.Type
}

// value goes through a value. The ID is that of its type in the message, t is the Go type
// that gob decodes the value into, and skip says that gob skips the value.
func (c *checker) value(id int32, t reflect.Type, skip bool) {
	switch id {
	case idBool, idInt, idUint, idFloat:
		c.uint()
		c.charge(costNum)
		return
	case idComplex:
		c.uint()
		c.uint()
		c.charge(2 * costNum)
		return
	case idBytes:
		c.charge(costBytes + costString(len(c.bytes())))
		return
	case idString:
		c.charge(costNum + costString(len(c.bytes())))
		return
	case idAny:
		c.any(skip)
		return
	}
	d := c.typeOf(id)
	if d == nil {
		c.undefined(id)
		return
	}
	c.enter()
	defer c.leave()
	key, elem := parts(t)
	switch d.kind {
	case kindArray, kindSlice:
		n := c.count()
		if d.kind == kindArray && n != d.len {
			c.fail(errors.New("array of another length"))
		}
		for c.charge(costList); n > 0 && c.err == nil; n-- {
			c.more()
			c.value(d.elem, elem, skip)
		}
	case kindMap:
		n := c.count()
		for c.charge(costDict); n > 0 && c.err == nil; n-- {
			c.charge(costPair)
			c.more()
			c.value(d.key, key, skip)
			c.more()
			c.value(d.elem, elem, skip)
		}
	case kindStruct:
		c.structValue(id, d, t, skip)
	default:
		c.charge(costGob + 2*int64(len(c.bytes())))
	}
}

func (c *checker) structValue(id int32, d *definition, t reflect.Type, skip bool) {
	t = base(t)
	types, ok := c.structs[layout{id, t}]
	if !ok || skip != (t == nil) {
		c.misfit()
		return
	}
	c.charge(costNum)
	if t != nil {
		c.charge(2 * int64(t.Size()))
	}
	c.fields(len(d.fields), func(i int) {
		c.value(d.fields[i].id, types[i], types[i] == nil)
	})
}

func (c *checker) misfit() {
	c.fail(errors.New("the value does not fit the type that is registered under its name"))
}

// any goes through an interface. When gob skips an interface, it does not use the name,
// not even an empty name, and skips as many bytes as the length says.
func (c *checker) any(skip bool) {
	name := c.bytes()
	if skip {
		c.typeSequence(true)
		c.bytes()
		return
	}
	if len(name) == 0 {
		c.charge(costNum)
		return
	}
	c.charge(costNamed + 2*int64(len(name)))
	if t := byName[string(name)]; t != nil && t.naming != nil {
		t.naming.register()
	}
	id := c.typeSequence(true)
	c.uint()
	if c.err != nil {
		return
	}
	t, ok := c.planned[named{string(name), id}]
	if !ok {
		t = c.prepare(named{string(name), id})
	}
	if d := c.typeOf(id); d == nil || d.kind != kindStruct {
		c.zero()
	}
	if id == idAny { // an interface in an interface
		c.enter()
		defer c.leave()
	}
	c.value(id, t, false)
}

// prepare counts what gob does when it first meets a type with a name. It returns the Go
// type that is registered under the name, or nil if that does not matter.
func (c *checker) prepare(n named) (t reflect.Type) {
	if err := c.refused[n]; err != nil {
		c.fail(err)
		return nil
	}
	defer func() {
		if c.err != nil {
			// What has been planned of this type is not complete.
			c.refused[n] = errors.Unwrap(c.err)
			clear(c.planned)
			clear(c.structs)
		}
	}()
	if ids, holdsStruct := c.reach(n.id); holdsStruct {
		if t = c.registered(n, ids); t == nil {
			return nil
		}
	}
	c.plan(n.id, t, false, nil)
	c.planned[n] = t
	return t
}

// reach returns the type and the types that it is made of. It reports whether there is a
// struct among them, and does not go into structs.
func (c *checker) reach(id int32) (ids []int32, holdsStruct bool) {
	ids = []int32{id}
	for i := 0; i < len(ids) && c.err == nil; i++ {
		d := c.typeOf(ids[i])
		if d == nil {
			continue
		}
		if c.charge(costNum); len(ids) > 2*maxTypeDepth {
			c.limit("nesting of types") // each has a key and an element at most
		}
		if d.kind == kindStruct {
			holdsStruct = true
			continue
		}
		for _, id := range []int32{d.key, d.elem} {
			if c.typeOf(id) != nil && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids, holdsStruct
}

// plan counts what gob prepares before it decodes the first value of a type: a step for
// each part of the type, and for a struct only once. The path has the types that the type
// is a part of, up to the innermost struct.
func (c *checker) plan(id int32, t reflect.Type, skip bool, path []int32) {
	c.charge(costPlan)
	if c.err != nil || id > 0 && id <= idAny || slices.Contains(path, id) {
		return
	}
	d := c.typeOf(id)
	if d == nil {
		c.undefined(id)
		return
	}
	if len(path) == maxTypeDepth {
		c.limit("nesting of types")
		return
	}
	path = append(path, id)
	key, elem := parts(t)
	switch d.kind {
	case kindStruct:
		c.enter()
		c.planStruct(id, d, t, skip)
		c.leave()
	case kindMap:
		c.plan(d.key, key, skip, path)
		c.plan(d.elem, elem, skip, path)
	case kindArray, kindSlice:
		c.plan(d.elem, elem, skip, path)
	default: // a type that decodes itself
	}
}

func (c *checker) planStruct(id int32, d *definition, t reflect.Type, skip bool) {
	t = base(t)
	if skip != (t == nil) || t != nil && t.Kind() != reflect.Struct {
		c.misfit()
		return
	}
	if c.structs[layout{id, t}] != nil {
		return
	}
	types := make([]reflect.Type, len(d.fields))
	c.structs[layout{id, t}] = types
	for i, f := range d.fields {
		if !skip {
			if sf, ok := t.FieldByName(f.name); ok && sf.IsExported() {
				types[i] = sf.Type
			}
		}
		c.plan(f.id, types[i], types[i] == nil, nil)
	}
}

// base returns the type that a pointer points to. Gob sends no pointers, only what they
// point to.
func base(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// parts returns the types of the keys and the elements of t. They are nil if t has none.
func parts(t reflect.Type) (key, elem reflect.Type) {
	t = base(t)
	if t == nil {
		return nil, nil
	}
	switch t.Kind() {
	case reflect.Map:
		return t.Key(), t.Elem()
	case reflect.Array, reflect.Slice:
		return nil, t.Elem()
	default:
		return nil, nil
	}
}
