// Package gobmap reads and writes what package encoding/gob makes of a
// map[interface{}]interface{}, the data of a session.
//
// # Model
//
// [Write] and [Read] know the types that sessions commonly hold: Go's basic
// types and slices of them, time.Time, time.Duration and the plain maps and
// lists in types.go. For these they do the work of gob without compiling
// anything, which is most of what gob does for a short message. Both give up when
// they meet anything else, and then the whole message is one for encoding/gob.
// That others can read with gob what Write makes, the user of this package has to
// register the types in types.go that are not registered by gob itself.
//
// Package gob trusts what it reads: it makes maps of the size that the bytes
// claim, recurses as deep as they say and loops as often. So bytes that Read
// gives up on have to pass [Check] before gob may see them. Check follows the
// very steps that gob will take, on the types that the message defines and on
// the Go types that are registered under the names in it, and adds up the memory
// that gob will need.
//
// # Errors
//
// Bytes that gob would not decode either give an error that says what is wrong
// with them. Bytes that gob might decode but that are refused give an error that
// is [ErrLimit].
//
// # Limits
//
// A message is refused if
//   - decoding it takes more than about 4 MiB and 8 times its length, as counted
//     before anything is allocated (the constants are upper bounds; they do not
//     count what GobDecode, UnmarshalBinary and the like of the app's own types
//     allocate beyond a few times the bytes they are given),
//   - values, or the types that it defines, are nested deeper than 1,000 levels,
//     or types other than structs deeper than 100,
//   - it claims more elements than there are bytes, or a key or an element of a
//     map begins where the message has ended,
//   - a type definition is of no kind or of two, or a value has one of the types
//     that gob describes types with. No encoder writes any of these.
//
// Write refuses data that is nested deeper than 1,000 levels, and so data that
// holds itself, where gob exhausts the stack.
package gobmap

import (
	"bytes"
	"errors"
	"math/bits"
)

var (
	// ErrOther says that a map holds more than Write knows: it is for gob.
	ErrOther = errors.New("not only common types")
	// ErrLimit says that bytes or data exceed a limit of this package.
	ErrLimit = errors.New("beyond the limits")
)

const (
	maxDepth     = 1000
	maxTypeDepth = 100
)

// budget is the memory that decoding may take. Memory is counted in an int64, since
// a small message can claim more than an int of 32 bits holds.
func budget(raw []byte) int64 { return 4<<20 + 8*int64(len(raw)) }

// What gob allocates for a value beyond the bytes of the value itself, and what
// Read does, each rounded up from measurements.
const (
	costDefinition = 512
	costBox        = 24
	costTime       = 384 // a zone of its own, mostly
)

// costString is what a copy of so many bytes takes.
func costString(length int) int64 {
	if length == 0 {
		return 0
	}
	n := int64(length)
	return n + n/4 + 16
}

// Readable returns nil if the message of an encoder is within the limits.
func Readable(raw []byte) error {
	err := Check(raw)
	if err != nil {
		if _, ok := Read(raw); ok { // which takes less memory than gob
			return nil
		}
	}
	return err
}

// Read returns the map that a message holds, and whether it could.
func Read(raw []byte) (map[interface{}]interface{}, bool) {
	c := borrow(raw)
	defer c.giveBack()
	if !c.data() {
		return nil, false
	}
	m := dataCodec.read(c)
	return m, c.complete()
}

// Scan reports whether Read can read a message, and whether the map in it has the
// key. It takes less than half of the time and no memory but for the Index.
func Scan(raw []byte, key string, ix *Index) (has, ok bool) {
	c := borrow(raw)
	defer c.giveBack()
	c.want, c.index = key, ix
	if !c.data() {
		return false, false
	}
	dataCodec.skip(c)
	return c.found, c.complete()
}

// data reads what stands before a map and reports whether it is one of ours.
func (c *cursor) data() bool {
	id := c.typeSequence(false)
	if !dataCodec.match(c, id) {
		return false
	}
	c.zero()
	return true
}

func (c *cursor) complete() bool { return c.err == nil && c.pos == len(c.raw) }

// Write returns a message that holds the map, without the keys whose values are
// nil. Its error is ErrOther or ErrLimit; when it is ErrOther, all that Write does
// know has been found to be within the limit of depth.
func Write(m map[interface{}]interface{}) ([]byte, error) {
	w, _ := writers.Get().(*writer)
	defer w.free()
	n := 0
	for key, val := range m {
		if val == nil {
			continue
		}
		w.any(val)
		w.any(key)
		if n++; w.err != nil {
			return nil, w.err
		}
	}
	if w.other {
		return nil, ErrOther
	}
	w.message(n, dataCodec.id)
	for defs := w.defs | dataCodec.defs; defs != 0; defs &= defs - 1 {
		w.bytes(definitions[bits.TrailingZeros64(defs)])
	}
	return bytes.Clone(w.buf[w.pos:]), nil
}
