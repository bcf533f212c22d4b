package gobmap

import (
	"errors"
	"fmt"
	"math"
	"sync"
)

// The IDs of the types that need no definition. The IDs between these and firstID belong
// to the types by which gob describes types.
const (
	idBool = 1 + iota
	idInt
	idUint
	idFloat
	idBytes
	idString
	idComplex
	idAny

	firstID = 64
)

// A kind is a kind of type that a message can define. The kinds are in the order of the
// fields of the struct that defines a type.
type kind int

const (
	kindArray kind = 1 + iota
	kindSlice
	kindStruct
	kindMap
	kindGob
	kindBinary
	kindText
)

// A definition is what a message says of one type.
type definition struct {
	id        int32
	name      int32 // where its name stands in the message, 0 if it has none
	kind      kind
	key, elem int32
	len       int
	fields    []field
}

type field struct {
	name string
	id   int32
}

// A cursor reads a message from its beginning to its end. It keeps the first error.
// After an error it is at the end of the message, and all reads return zeros.
type cursor struct {
	raw   []byte
	pos   int
	start int // where the part that pos is in begins, with its length
	end   int // where this part ends
	err   error
	first [4]definition         // of the first types that the message defines
	n     int                   // how many definitions are in first
	types map[int32]*definition // of the types after these
	left  int64                 // of the budget
	depth int
}

func newCursor(raw []byte) cursor { return cursor{raw: raw, left: budget(raw)} }

var cursors = sync.Pool{New: func() any { return new(cursor) }}

// borrow is newCursor, but the cursor has to be given back.
func borrow(raw []byte) *cursor {
	c, _ := cursors.Get().(*cursor)
	*c = newCursor(raw)
	return c
}

func (c *cursor) giveBack() {
	*c = cursor{}
	cursors.Put(c)
}

var (
	errShort = errors.New("unexpected end")
	errUint  = errors.New("bad number")
)

// fail ends the reading with an error, unless there has been one before.
func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = fmt.Errorf("at byte %d: %w", c.pos, err)
	}
	c.pos, c.end = len(c.raw), len(c.raw)
}

func (c *cursor) limit(what string) { c.fail(fmt.Errorf("%s: %w", what, ErrLimit)) }

// charge takes n bytes of memory from what is left of the budget.
func (c *cursor) charge(n int64) {
	if c.left -= n; c.left < 0 {
		c.limit("the memory that it takes")
	}
}

func (c *cursor) enter() {
	if c.depth++; c.depth > maxDepth {
		c.limit("nesting")
	}
}

func (c *cursor) leave() { c.depth-- }

// uint reads a number. A number below 128 is one byte. For any other number, the first
// byte is the negated number of bytes that follow, high byte first.
func (c *cursor) uint() uint64 {
	if c.pos >= c.end {
		c.fail(errShort)
		return 0
	}
	b := c.raw[c.pos]
	c.pos++
	if b < 0x80 {
		return uint64(b)
	}
	n := -int(int8(b))
	if n > 8 {
		c.fail(errUint)
		return 0
	}
	if n > c.end-c.pos {
		c.fail(errShort)
		return 0
	}
	var u uint64
	for _, b := range c.raw[c.pos : c.pos+n] {
		u = u<<8 | uint64(b)
	}
	c.pos += n
	return u
}

// int reads a signed number. If its lowest bit is set, the other bits are inverted.
func (c *cursor) int() int64 {
	u := c.uint()
	if u&1 != 0 {
		return ^int64(u >> 1)
	}
	return int64(u >> 1)
}

func (c *cursor) typeID() int32 {
	i := c.int()
	if i < math.MinInt32 || i > math.MaxInt32 {
		c.fail(errors.New("type ID out of range"))
		return 0
	}
	return int32(i)
}

// bytes reads a length and as many bytes. It returns a slice of the message, not a copy.
func (c *cursor) bytes() []byte {
	n := c.uint()
	if n > uint64(c.end-c.pos) {
		c.fail(errShort)
		return nil
	}
	c.pos += int(n)
	return c.raw[c.pos-int(n) : c.pos]
}

// count reads a number of elements. Each element takes at least a byte of the rest of the
// message, so there cannot be more elements than bytes.
func (c *cursor) count() int {
	n := c.uint()
	if n > uint64(len(c.raw)-c.pos) {
		c.limit("number of elements")
		return 0
	}
	return int(n)
}

// zero reads the zero that stands before every value except a struct.
func (c *cursor) zero() {
	if c.uint() != 0 {
		c.fail(errors.New("no value"))
	}
}

// fields reads a struct of at most n fields, and calls f for each field that is there.
// Before a field stands its distance from the field before it. The struct ends with a
// zero or with the part.
func (c *cursor) fields(n int, f func(i int)) {
	for i := -1; c.pos < c.end; f(i) {
		delta := c.uint()
		if delta == 0 {
			return
		}
		if delta > uint64(n-1-i) {
			c.fail(errors.New("no such field"))
			return
		}
		i += int(delta)
	}
}

// part goes on to the next part of the message, which begins with its length.
func (c *cursor) part() {
	c.start, c.end = c.pos, len(c.raw)
	n := c.uint()
	if n > uint64(c.end-c.pos) {
		c.fail(errShort)
		return
	}
	c.end = c.pos + int(n)
}

// typeSequence reads the type definitions that stand before a value, and returns the ID
// of the type of the value. An encoder begins a new part of the message with each
// definition. Inside of an interface, a length follows each definition that does not end
// its part.
func (c *cursor) typeSequence(inside bool) int32 {
	for c.err == nil {
		if c.pos == c.end {
			c.part()
		}
		id := int32(c.int()) // gob drops the upper bits too
		if id >= 0 {
			return id
		}
		c.define(-id)
		if c.pos < c.end {
			if !inside {
				c.fail(errors.New("bytes after a type definition"))
			}
			c.uint()
		}
	}
	return 0
}

// fieldsOf is how many fields the description of a type has. The first field has the name
// and the ID of the type. The ID is not needed: it stands before the description, too.
var fieldsOf = [...]int{kindArray: 3, kindSlice: 2, kindStruct: 2, kindMap: 3, kindGob: 1, kindBinary: 1, kindText: 1}

func (c *cursor) define(id int32) {
	if id < firstID || c.typeOf(id) != nil {
		c.fail(errors.New("type defined before"))
		return
	}
	c.charge(costDefinition)
	d := c.newDefinition(id)
	c.fields(int(kindText), func(i int) {
		if d.kind != 0 {
			c.limit("type of two kinds")
			return
		}
		d.kind = kind(i + 1)
		c.fields(fieldsOf[d.kind], func(i int) {
			switch {
			case i == 0:
				c.fields(2, func(i int) {
					if i == 0 {
						d.name = int32(c.pos)
						c.bytes()
					} else {
						c.typeID()
					}
				})
			case d.kind == kindStruct:
				c.structFields(d)
			case d.kind == kindMap && i == 1:
				d.key = c.typeID()
			case d.kind == kindArray && i == 2:
				d.len = int(c.int())
			default:
				d.elem = c.typeID()
			}
		})
	})
	if d.kind == 0 {
		c.limit("type of no kind")
	}
}

func (c *cursor) newDefinition(id int32) (d *definition) {
	if c.n < len(c.first) {
		d = &c.first[c.n]
		c.n++
	} else {
		d = new(definition)
		if c.types == nil {
			c.types = make(map[int32]*definition)
		}
		c.types[id] = d
	}
	d.id = id
	return d
}

// typeOf returns the definition of a type in the message, or nil if there is none.
func (c *cursor) typeOf(id int32) *definition {
	for i := range c.first[:c.n] {
		if c.first[i].id == id {
			return &c.first[i]
		}
	}
	return c.types[id]
}

func (c *cursor) undefined(id int32) {
	if id > 0 && id < firstID {
		c.limit("type that describes types")
		return
	}
	c.fail(errors.New("undefined type"))
}

// more fails if nothing is left where an element begins. Gob would take the end of the
// message for a struct without fields, and read such structs as often as the message
// claims.
func (c *cursor) more() {
	if c.pos == c.end {
		c.limit("no element")
	}
}

func (c *cursor) structFields(d *definition) {
	for n := c.count(); n > 0 && c.err == nil; n-- {
		c.charge(costDefinition)
		if c.pos == c.end {
			c.fail(errShort)
			return
		}
		var f field
		c.fields(2, func(i int) {
			if i == 0 {
				f.name = string(c.bytes())
			} else {
				f.id = c.typeID()
			}
		})
		d.fields = append(d.fields, f)
	}
}
