package gobmap

import (
	"bytes"
	"errors"
	"math"
	"math/bits"
	"reflect"
	"time"
	"unsafe"
)

// A codec reads and writes the values of a type of Go.
type codec[T any] struct {
	id    int32                          // the ID of the type in what Write makes
	defs  uint64                         // the definitions that the type needs
	match func(c *cursor, id int32) bool // reports whether id is the type in this message
	read  func(c *cursor) T
	write func(w *writer, v T)
}

// A common is the codec of a type that an interface may hold. To read a value, it is
// found by the name of the type in the message: see byName. To write a value, it is
// found by the type in Go: see byType.
type common struct {
	prefix string // the name and the ID, which stand before the length of a value
	defs   uint64
	match  func(c *cursor, id int32) bool
	read   func(c *cursor) any
	write  func(w *writer, v any)

	comparable bool    // a value can be the key of a map
	naming     *naming // nil for a type that gob registers itself
}

var (
	byName = make(map[string]*common)
	byType = make(map[reflect.Type]*common)

	unregistered []*naming // of the types that gob does not register itself

	// definitions are the messages that define the types that Write uses. A bit mask
	// stands for a set of them.
	definitions [][]byte

	dataCodec  codec[map[interface{}]interface{}] // of the data of a session
	stringType *common                            // byName["string"]
)

// define adds the definition of a type, which needs other definitions. It returns the ID
// of the type, and the set of all definitions that the type needs.
func define(k kind, name string, d definition, needs uint64) (id int32, defs uint64) {
	id = int32(firstID + len(definitions))
	defs = needs | 1<<len(definitions)
	d.kind = k
	w := newWriter()
	w.define(id, name, &d)
	definitions = append(definitions, bytes.Clone(w.buf[w.pos:]))
	return id, defs
}

// basic is the codec of a type that needs no definition.
func basic[T any](id int32, read func(c *cursor) T, write func(w *writer, v T)) codec[T] {
	return codec[T]{
		id:    id,
		match: func(_ *cursor, got int32) bool { return got == id },
		read:  read,
		write: write,
	}
}

// listOf is the codec of a slice.
func listOf[T any](elem codec[T]) codec[[]T] {
	var zero T
	id, defs := define(kindSlice, "", definition{elem: elem.id}, elem.defs)
	return codec[[]T]{
		id:   id,
		defs: defs,
		match: func(c *cursor, id int32) bool {
			d := c.typeOf(id)
			return d != nil && d.kind == kindSlice && elem.match(c, d.elem)
		},
		read: func(c *cursor) []T {
			n := c.count()
			if c.charge(int64(n) * int64(unsafe.Sizeof(zero))); n == 0 || c.err != nil {
				return nil // for an empty one, as gob does
			}
			list := make([]T, n)
			for i := range list {
				if c.err != nil {
					return nil
				}
				list[i] = elem.read(c)
			}
			return list
		},
		write: func(w *writer, list []T) {
			for i := len(list) - 1; i >= 0 && w.err == nil; i-- {
				elem.write(w, list[i])
			}
			w.uint(uint64(len(list)))
		},
	}
}

// mapOf is the codec of a map.
func mapOf[K comparable, V any](key codec[K], elem codec[V]) codec[map[K]V] {
	var k K
	var v V
	slot := int64(unsafe.Sizeof(k)+unsafe.Sizeof(v)) + 1
	id, defs := define(kindMap, "", definition{key: key.id, elem: elem.id}, key.defs|elem.defs)
	return codec[map[K]V]{
		id:   id,
		defs: defs,
		match: func(c *cursor, id int32) bool {
			d := c.typeOf(id)
			return d != nil && d.kind == kindMap && key.match(c, d.key) && elem.match(c, d.elem)
		},
		read: func(c *cursor) map[K]V {
			n := c.count()
			if c.charge(costMap(int64(n), slot)); c.err != nil {
				return nil
			}
			m := make(map[K]V, n)
			for range n {
				k := key.read(c)
				v := elem.read(c)
				if c.err != nil {
					return nil
				}
				m[k] = v
			}
			return m
		},
		write: func(w *writer, m map[K]V) {
			for k, v := range m {
				elem.write(w, v)
				key.write(w, k)
				if w.err != nil {
					return
				}
			}
			w.uint(uint64(len(m)))
		},
	}
}

// costMap is the memory of a map of n elements, whose slots are so large. A map has at
// least eight slots. It doubles them when more than 7 of 8 are full, so at worst it has
// 16 slots for 7 elements.
func costMap(n, slot int64) int64 {
	switch {
	case n == 0:
		return 48
	case n <= 8:
		return 64 + 8*slot
	default:
		return 512 + n*slot*16/7
	}
}

// add makes the type of a codec one that an interface may hold.
func add[T any](cd codec[T]) *common {
	typ := reflect.TypeFor[T]()
	name := typ.String() // the name under which gob registers these types
	t := &common{
		prefix: newWriter().prefix(name, cd.id),
		defs:   cd.defs,
		match:  cd.match,
		read:   func(c *cursor) any { return cd.read(c) },
		write:  func(w *writer, v any) { cd.write(w, v.(T)) }, //nolint:forcetypeassert // it was found by this type

		comparable: typ.Comparable(),
	}
	byName[name], byType[typ] = t, t
	return t
}

// addUnregistered is add for a type that gob does not register itself.
func addUnregistered[T any](cd codec[T]) {
	t := add(cd)
	t.naming = &naming{typ: reflect.TypeFor[T](), common: t}
	unregistered = append(unregistered, t.naming)
}

// addWithList adds a basic type, and slices of it.
func addWithList[T any](cd codec[T]) {
	add(cd)
	add(listOf(cd))
}

var errRange = errors.New("number out of range")

type integer interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr
}

// number is the codec of a type T of numbers that are sent as a type with more bits.
func number[T, Sent integer](id int32, read func(c *cursor) Sent, write func(w *writer, n Sent)) codec[T] {
	return basic(id, func(c *cursor) T {
		n := read(c)
		if Sent(T(n)) != n {
			c.fail(errRange)
		}
		return T(n)
	}, func(w *writer, v T) { write(w, Sent(v)) })
}

// Integers of all sizes are sent as 64 bits.
func signed[T integer]() codec[T] { return number[T](idInt, (*cursor).int, (*writer).int) }

func unsigned[T integer]() codec[T] { return number[T](idUint, (*cursor).uint, (*writer).uint) }

// float reads a number whose bytes are in reverse order. Most numbers end with bytes that
// are zero, which need not be sent in this order.
func (c *cursor) float() float64 { return math.Float64frombits(bits.ReverseBytes64(c.uint())) }

func (w *writer) float(f float64) { w.uint(bits.ReverseBytes64(math.Float64bits(f))) }

func (c *cursor) float32() float32 {
	f := c.float()
	if abs := math.Abs(f); abs > math.MaxFloat32 && abs <= math.MaxFloat64 {
		c.fail(errRange)
	}
	return float32(f)
}

// copied reads bytes, and charges for the copy that the caller makes of them.
func (c *cursor) copied() []byte {
	b := c.bytes()
	c.charge(costString(len(b)))
	return b
}

func (c *cursor) string() string { return string(c.copied()) }

// slice reads a []byte, which is nil if it is empty, as with gob.
func (c *cursor) slice() []byte { return append([]byte(nil), c.copied()...) }

func (c *cursor) time() (t time.Time) {
	c.charge(costTime)
	if err := t.UnmarshalBinary(c.bytes()); err != nil {
		c.fail(err)
	}
	return t
}

func (w *writer) time(t time.Time) {
	var buf [16]byte
	b, err := t.AppendBinary(buf[:0])
	if err != nil {
		w.other = true // gob says what is wrong
		return
	}
	w.bytes(b)
	w.uint(uint64(len(b)))
}

func init() {
	str := basic(idString, (*cursor).string, (*writer).string)
	boolean := basic(idBool, func(c *cursor) bool { return c.uint() != 0 }, (*writer).bool)
	anything := basic(idAny, (*cursor).any, (*writer).any)
	dataCodec = mapOf(basic(idAny, (*cursor).key, (*writer).any), anything)
	if dataCodec.id != firstID {
		panic("gobmap: the type of the message is not the first")
	}
	addUnregistered(dataCodec)

	stringType = add(str)
	add(listOf(str))
	addWithList(boolean)
	addWithList(signed[int]())
	addWithList(signed[int8]())
	addWithList(signed[int16]())
	addWithList(signed[int32]())
	addWithList(signed[int64]())
	addWithList(unsigned[uint]())
	addWithList(unsigned[uint16]())
	addWithList(unsigned[uint32]())
	addWithList(unsigned[uint64]())
	addWithList(unsigned[uintptr]())
	addWithList(basic(idFloat, (*cursor).float, (*writer).float))
	addWithList(basic(idFloat, (*cursor).float32, func(w *writer, f float32) { w.float(float64(f)) }))
	addWithList(basic(idComplex,
		func(c *cursor) complex128 { r := c.float(); return complex(r, c.float()) },
		func(w *writer, v complex128) { w.float(imag(v)); w.float(real(v)) }))
	addWithList(basic(idComplex,
		func(c *cursor) complex64 { r := c.float32(); return complex(r, c.float32()) },
		func(w *writer, v complex64) { w.float(float64(imag(v))); w.float(float64(real(v))) }))
	add(unsigned[uint8]())
	add(basic(idBytes, (*cursor).slice, func(w *writer, b []byte) { w.bytes(b); w.uint(uint64(len(b))) }))

	at := basic(0, (*cursor).time, (*writer).time)
	at.id, at.defs = define(kindGob, "Time", definition{}, 0)
	at.match = func(c *cursor, id int32) bool { d := c.typeOf(id); return d != nil && d.kind == kindGob }
	addUnregistered(at)
	addUnregistered(signed[time.Duration]())

	addUnregistered(listOf(anything))
	addUnregistered(mapOf(str, anything))
	addUnregistered(mapOf(str, str))
	addUnregistered(mapOf(str, boolean))
	addUnregistered(mapOf(str, signed[int]()))
	addUnregistered(mapOf(str, listOf(str)))
}
