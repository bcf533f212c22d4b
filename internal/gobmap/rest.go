package gobmap

import (
	"bytes"
	"fmt"
	"slices"
)

// Rest is the pairs of a message that could not be decoded, as they were encoded: of a type
// that is not registered in this process, or whose fields have changed. It does not change.
type Rest struct {
	raw   []byte // a message with all of these pairs, and perhaps more
	pairs []undecoded
}

// undecoded is one pair.
type undecoded struct {
	index int  // among the pairs of the message
	known bool // the key could be decoded
	key   any

	keyType, valType string // names of types, "" for that of nil
	err              error
}

// Has reports whether there is a pair with the key.
func (r *Rest) Has(key any) bool {
	return slices.ContainsFunc(r.pairs, func(u undecoded) bool { return u.known && u.key == key })
}

// Without returns the rest without the pairs whose keys f reports true for, nil if there
// are no others. A pair whose key could not be decoded stays.
func (r *Rest) Without(f func(key any) bool) *Rest {
	drop := func(u undecoded) bool { return u.known && f(u.key) }
	if !slices.ContainsFunc(r.pairs, drop) {
		return r
	}
	pairs := slices.DeleteFunc(slices.Clone(r.pairs), drop)
	if len(pairs) == 0 {
		return nil
	}
	return &Rest{raw: r.raw, pairs: pairs}
}

// String names the key and the type of a pair, and the number of the others.
func (r *Rest) String() string {
	u, text := r.pairs[0], "the value"
	if u.valType != "" {
		text += " of type " + quote(u.valType)
	}
	switch {
	case u.known:
		text += " under key " + quote(fmt.Sprint(u.key))
	case u.keyType != "":
		text += " under a key of type " + quote(u.keyType)
	}
	if more := len(r.pairs) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}

// quote quotes a text of the message, which may be long.
func quote(text string) string { return fmt.Sprintf("%.100q", text) }

// UndecodedError says that some of the pairs of a message could not be decoded.
type UndecodedError struct {
	Rest    *Rest // these pairs
	Decoded int   // the number of the other pairs
}

// Error names the key and the type of one of the pairs, and says what is wrong with it.
func (e *UndecodedError) Error() string {
	return fmt.Sprintf("%v cannot be decoded: %v", e.Rest, e.Unwrap())
}

// Unwrap returns the error of the pair that Error names.
func (e *UndecodedError) Unwrap() error { return e.Rest.pairs[0].err }

// Join returns a message with all that a message holds and the rest. The message must be
// one of Encode or of encoding/gob. Where both have a key, a decoder sees what the message
// has under it.
func Join(raw []byte, rest *Rest) ([]byte, error) {
	to, err := scan(raw, false)
	if err != nil {
		return nil, err
	}
	from, err := scan(rest.raw, true)
	if err != nil {
		return nil, err
	}
	n := &numbering{next: to.unusedID()}
	for _, u := range rest.pairs {
		p := from.pairs[u.index]
		from.number(n, typesIn(nil, from.pieces[p.key:p.end]))
	}
	if from.err != nil {
		return nil, from.err
	}

	w := newWriter()
	w.bytes(raw[to.partTo:])
	before := w.len()
	w.bytes(raw[to.pairsAt:to.partTo])
	for _, u := range slices.Backward(rest.pairs) {
		p := from.pairs[u.index]
		from.put(w, from.pieces[p.key:p.end], n)
	}
	w.message(to.pairCount+len(rest.pairs), to.top, before)
	w.bytes(raw[:to.partFrom])
	from.define(w, n)
	return bytes.Clone(w.buf[w.pos:]), nil
}
