package gobmap

import "math"

// Index is where the entries of a map are in a message that Scan has found to be
// good, so that one can be read without the others. It has room for few: a map of
// more has none.
type Index struct {
	n       int // of entries, more than there is room for if there is no index
	entries [8]entry
}

// An entry is one key with its value.
type entry struct {
	key, end, val uint32  // where they are
	text          bool    // the key is a string
	typ           *common // that of the value, nil unless Get can read it alone
}

func (ix *Index) addKey(from, end int, t *common) {
	if end > math.MaxUint32 {
		ix.n = len(ix.entries)
	}
	if ix.n < len(ix.entries) {
		ix.entries[ix.n] = entry{key: uint32(from), end: uint32(end), text: t == stringType}
	}
}

// addVal adds the value of the key before.
func (ix *Index) addVal(at int, t *common) {
	if ix.n < len(ix.entries) && t != nil && t.comparable && at <= math.MaxUint32 {
		ix.entries[ix.n].val, ix.entries[ix.n].typ = uint32(at), t
	}
	ix.n++
}

// Get returns the value of a key in the message that the index is of, nil if there
// is none. It reports false if that takes reading all of the message: for values
// that can be changed in place, which must be the same each time, and large maps.
func (ix *Index) Get(raw []byte, key string) (val any, ok bool) {
	if ix.n > len(ix.entries) {
		return nil, false
	}
	for i := ix.n - 1; i >= 0; i-- { // a later one counts
		if e := &ix.entries[i]; e.text && string(raw[e.key:e.end]) == key {
			return e.get(raw)
		}
	}
	return nil, true
}

func (e *entry) get(raw []byte) (val any, ok bool) {
	if e.typ == nil {
		return nil, false
	}
	c := borrow(raw)
	defer c.giveBack()
	c.pos, c.end = int(e.val), len(raw)
	val = e.typ.read(c)
	return val, c.err == nil
}
