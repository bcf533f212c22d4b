package gobmap

import (
	"bytes"
	"fmt"
	"reflect"
	"sync"
)

// A writer writes a message from its end to its beginning, because the length
// of each value and all type definitions stand before it.
type writer struct {
	buf   []byte
	pos   int    // the message so far is buf[pos:]
	defs  uint64 // the definitions it needs
	depth int
	other bool  // there is more than common types
	err   error // ErrLimit
}

func newWriter() *writer {
	const size = 1024
	return &writer{buf: make([]byte, size), pos: size}
}

var writers = sync.Pool{New: func() any { return newWriter() }}

// free gives a writer back, unless it is for a message of unusual size.
func (w *writer) free() {
	if len(w.buf) <= 64<<10 {
		*w = writer{buf: w.buf, pos: len(w.buf)}
		writers.Put(w)
	}
}

func (w *writer) len() int { return len(w.buf) - w.pos }

// room makes room for n bytes and returns them.
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

// any writes a value and, before it, the name of its type, the type's ID and the
// length of what follows.
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

// message completes the message of a map that has n elements.
func (w *writer) message(n int, id int32) {
	w.uint(uint64(n))
	w.byte(0)
	w.int(int64(id))
	w.uint(uint64(w.len()))
}

// prefix returns what stands before the length of a value.
func (w *writer) prefix(name string, id int32) string {
	w.int(int64(id))
	w.string(name)
	return string(w.buf[w.pos:])
}

// definition returns a message that defines a type. Fields that are zero are not
// sent, and the others say how far they are from the one before.
func (w *writer) definition(id int32, name string, d definition) []byte {
	w.byte(0) // the end of the definition
	w.byte(0) // the end of what is special to the kind
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
	}
	w.byte(0) // the end of what all kinds have
	w.int(int64(id))
	if name == "" {
		w.byte(2)
	} else {
		w.byte(1)
		w.string(name)
		w.byte(1)
	}
	w.byte(1)
	w.byte(byte(d.kind))
	w.int(-int64(id))
	w.uint(uint64(w.len()))
	return bytes.Clone(w.buf[w.pos:])
}
