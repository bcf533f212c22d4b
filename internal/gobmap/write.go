package gobmap

import (
	"fmt"
	"math/bits"
	"reflect"
	"sync"
)

// A writer writes a message from its end to its beginning. Before a value stand its
// length and the definitions that it needs, which are known only after the value has been
// written.
type writer struct {
	buf   []byte
	pos   int    // the message so far is buf[pos:]
	defs  uint64 // the definitions that the message needs
	depth int
	other bool  // there is a value of a type that this package does not know
	err   error // ErrLimit
}

func newWriter() *writer {
	const size = 1024
	return &writer{buf: make([]byte, size), pos: size}
}

var writers = sync.Pool{New: func() any { return newWriter() }}

// free gives a writer back for another message, unless its buffer is unusually large.
func (w *writer) free() {
	if len(w.buf) <= 64<<10 {
		*w = writer{buf: w.buf, pos: len(w.buf)}
		writers.Put(w)
	}
}

func (w *writer) len() int { return len(w.buf) - w.pos }

// room makes room for n bytes before the message so far, and returns the room.
func (w *writer) room(n int) []byte {
	if w.pos < n {
		buf := make([]byte, 2*len(w.buf)+n)
		pos := len(buf) - w.len()
		copy(buf[pos:], w.buf[w.pos:])
		w.buf, w.pos = buf, pos
	}
	w.pos -= n
	return w.buf[w.pos : w.pos+n]
}

func (w *writer) byte(b byte) { w.room(1)[0] = b }

func (w *writer) bytes(b []byte) { copy(w.room(len(b)), b) }

func (w *writer) text(s string) { copy(w.room(len(s)), s) }

func (w *writer) string(s string) {
	w.text(s)
	w.uint(uint64(len(s)))
}

func (w *writer) bool(b bool) {
	if b {
		w.byte(1)
	} else {
		w.byte(0)
	}
}

func (w *writer) uint(u uint64) {
	if u < 0x80 {
		w.byte(byte(u))
		return
	}
	n := 0
	for ; u != 0; u >>= 8 {
		w.byte(byte(u))
		n++
	}
	w.byte(byte(-n))
}

func (w *writer) int(i int64) {
	u := uint64(i) << 1
	if i < 0 {
		u = ^u
	}
	w.uint(u)
}

// any writes a value in an interface. Before the value stand the name of its type, the ID
// of the type and the length of the value.
func (w *writer) any(v any) {
	if v == nil {
		w.byte(0)
		return
	}
	t := byType[reflect.TypeOf(v)]
	if t == nil {
		w.other = true
		return
	}
	if t.naming != nil && t.naming.get() != usual {
		w.other = true // and go on, as gob does not see whether the data holds itself
	}
	if w.depth++; w.depth > maxDepth {
		w.err = fmt.Errorf("nested deeper than %d levels: %w", maxDepth, ErrLimit)
		return
	}
	before := w.len()
	t.write(w, v)
	w.byte(0)
	w.uint(uint64(w.len() - before))
	w.text(t.prefix)
	w.defs |= t.defs
	w.depth--
}

// message writes what stands before the n elements of the map. Their part of the message
// ends where the writer was at the length.
func (w *writer) message(n int, id int32, end int) {
	w.uint(uint64(n))
	w.byte(0)
	w.int(int64(id))
	w.uint(uint64(w.len() - end))
}

// prefix returns the prefix of a common.
func (w *writer) prefix(name string, id int32) string {
	w.int(int64(id))
	w.string(name)
	return string(w.buf[w.pos:])
}

// begin writes the message before the n elements of the map, with definitions.
func (w *writer) begin(n int, defs uint64) {
	w.message(n, dataCodec.id, 0)
	for defs |= dataCodec.defs; defs != 0; defs &= defs - 1 {
		w.bytes(definitions[bits.TrailingZeros64(defs)])
	}
}

// define writes a part that defines a type. Fields that are zero are not sent. Before
// each other field stands its distance from the field before it.
func (w *writer) define(id int32, name string, d *definition) {
	before := w.len()
	w.byte(0) // the end of the definition
	w.byte(0) // the end of the description
	switch d.kind {
	case kindArray:
		w.int(int64(d.len))
		w.byte(1)
		w.int(int64(d.elem))
		w.byte(1)
	case kindSlice:
		w.int(int64(d.elem))
		w.byte(1)
	case kindMap:
		w.int(int64(d.elem))
		w.byte(1)
		w.int(int64(d.key))
		w.byte(1)
	case kindStruct:
		for i := len(d.fields) - 1; i >= 0; i-- {
			w.byte(0) // the end of the field
			w.named(d.fields[i].name, d.fields[i].id)
		}
		if len(d.fields) > 0 {
			w.uint(uint64(len(d.fields)))
			w.byte(1)
		}
	}
	w.byte(0) // the end of what all kinds have
	w.named(name, id)
	w.byte(1)
	w.byte(byte(d.kind))
	w.int(-int64(id))
	w.uint(uint64(w.len() - before))
}

// named writes the two fields that both a type and a field of a struct have.
func (w *writer) named(name string, id int32) {
	w.int(int64(id))
	if name == "" {
		w.byte(2)
		return
	}
	w.byte(1)
	w.string(name)
	w.byte(1)
}
