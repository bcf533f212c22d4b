// Package gobmap reads and writes the data of a session, which is what package
// encoding/gob makes of a map[interface{}]interface{}.
//
// # Model
//
// [Write] and [Read] know the types that sessions commonly hold: Go's basic types and
// slices of them, time.Time, time.Duration, and the plain maps and lists in types.go. Gob
// compiles a program for each type of a message before it decodes a value, which is most
// of its work for a short message. Write and Read have these programs at hand.
//
// Both give up when they meet any other type. Then the whole message has to be written or read by
// encoding/gob, whose decoders are kept with their programs: see prepared.go. [Encode] and
// [Decode] do either. Types in types.go that gob comes upon, and that neither gob nor the app has
// registered, are registered then: see naming.go.
//
// Package gob trusts what it reads: it makes maps of the size that the bytes claim,
// recurses as deep as they say, and loops as often. So a message that Read gives up on
// has to pass [Check] before gob may see it. Check takes the same steps as gob, on the
// types that the message defines and on the Go types that are registered under the names
// in it. It allocates no values, but adds up the memory that gob will need for them.
//
// # What cannot be decoded
//
// For gob a message is one value. If there is one thing in it that gob cannot decode, such
// as a type that only another version of the app has registered, all is lost. So Decode then
// takes the message to pieces, which needs no Go types (scan.go), and decodes the pairs one
// by one (salvage.go). Those that cannot be decoded are a [Rest], and [Join] puts them into
// the next message as they were.
//
// # Errors
//
// If bytes are refused that gob would not decode either, the error says what is wrong
// with them. If bytes are refused that gob might decode, the error is [ErrLimit]. (Where
// an int has 32 bits, gob also decodes some bytes with a length that does not fit an int,
// as it cuts the length off. The error for these says that the message ends too soon.)
//
// # Limits
//
// A message is refused if
//   - decoding it takes more memory than about 4 MiB and 8 times its length. The memory
//     is counted before any is allocated, and never too low. Not counted is what
//     GobDecode, UnmarshalBinary and the like of the app's own types allocate beyond a
//     few times the bytes that they are given.
//   - values, or the types that it defines, are nested deeper than 1,000 levels, or types
//     other than structs deeper than 100.
//   - it claims more elements than there are bytes, or a key or an element of a map
//     begins where the message has ended.
//   - a type definition is of no kind or of two kinds, or a value has one of the types
//     by which gob describes types. No encoder writes any of these.
//
// To go through the pairs of a message one by one may take twice that memory, and to decode
// them, all together, twice again.
//
// Write refuses data that is nested deeper than 1,000 levels. So it refuses data that
// holds itself, for which gob exhausts the stack.
package gobmap

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"maps"
	"runtime"
)

var (
	// ErrOther says that there is a type that this package does not know, but gob may.
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

// What gob and Read allocate beside the bytes of a value, each rounded up from
// measurements.
const (
	costDefinition = 512
	costBox        = 24  // to put a value into an interface
	costTime       = 384 // mostly for a time zone
)

// costString is what a copy of so many bytes takes.
func costString(length int) int64 {
	if length == 0 {
		return 0
	}
	n := int64(length)
	return n + n/4 + 16
}

// Encode returns a message that holds the map, without the keys whose values are nil. Its
// error is that of encoding/gob, or [ErrLimit].
func Encode(m map[interface{}]interface{}) ([]byte, error) {
	raw, err := Write(m)
	// No message of common types takes too much memory below this size.
	const small = 64 << 10
	if err == nil && len(raw) <= small {
		return raw, nil
	}
	if errors.Is(err, ErrOther) {
		raw, err = plainEncode(m)
	}
	if err == nil {
		err = Readable(raw)
	}
	if err != nil {
		return nil, err
	}
	return raw, nil
}

// plainEncode has gob write the map.
func plainEncode(m map[interface{}]interface{}) ([]byte, error) {
	for _, val := range m {
		if val == nil {
			m = maps.Clone(m)
			maps.DeleteFunc(m, func(_, val interface{}) bool { return val == nil })
			break
		}
	}
	for last := (*naming)(nil); ; {
		var buf bytes.Buffer
		err := gob.NewEncoder(&buf).Encode(m)
		if err == nil {
			return buf.Bytes(), nil
		}
		n := missing(err)
		if n == nil || n == last {
			return nil, err
		}
		n.register()
		last = n
	}
}

// Decode returns the map that a message of Encode or of encoding/gob holds. If only some
// of its pairs can be decoded, the map has these, and the error is an [UndecodedError]. If
// none can be, the map is nil, and so it is with any other error. The bytes may be anything.
func Decode(raw []byte) (map[interface{}]interface{}, error) {
	if m, ok := Read(raw); ok {
		return m, nil
	}
	m, err := decodeWhole(raw)
	if err == nil {
		return m, nil
	}
	m, rest := salvage(raw)
	switch {
	case m == nil:
		return nil, err // what is wrong with the message, and not with a piece of it
	case rest == nil:
		return m, nil
	case len(m) == 0:
		return nil, &UndecodedError{Rest: rest}
	default:
		return m, &UndecodedError{Rest: rest, Decoded: len(m)}
	}
}

func decodeWhole(raw []byte) (m map[interface{}]interface{}, err error) {
	defer recovered(&err)
	if err := Check(raw); err != nil {
		return nil, err
	}
	if len(raw) <= maxPrepared {
		if m, err := decodePrepared(raw); err == nil {
			return m, nil
		}
	}
	return plainDecode(raw)
}

// plainDecode has gob read a message that has been checked.
func plainDecode(raw []byte) (m map[interface{}]interface{}, err error) {
	defer recovered(&err)
	m = make(map[interface{}]interface{})
	err = gob.NewDecoder(bytes.NewReader(raw)).Decode(&m)
	return m, err
}

// recovered makes an error of a panic. A key that is not hashable makes gob panic, and so
// may methods of registered types. What they throw may be data.
func recovered(err *error) {
	switch v := recover().(type) {
	case nil:
	case runtime.Error:
		*err = v
	default:
		*err = fmt.Errorf("%T", v)
	}
}

// Readable returns nil if a message that an encoder has made is within the limits.
func Readable(raw []byte) error {
	err := Check(raw)
	if err != nil {
		if _, ok := Read(raw); ok { // Read takes less memory than Check counts for gob
			return nil
		}
	}
	return err
}

// Read returns the map that a message holds. It reports false if it cannot read the
// message.
func Read(raw []byte) (map[interface{}]interface{}, bool) {
	c := borrow(raw)
	defer c.giveBack()
	if !dataCodec.match(c, c.typeSequence(false)) {
		return nil, false
	}
	c.zero()
	m := dataCodec.read(c)
	return m, c.err == nil && c.pos == len(c.raw)
}

// Write returns a message that holds the map, without the keys whose values are nil. Its
// error is ErrOther or ErrLimit. With ErrOther, all values of types that Write knows are
// within the limit of depth.
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
	w.begin(n, w.defs)
	return bytes.Clone(w.buf[w.pos:]), nil
}
