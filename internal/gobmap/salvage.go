package gobmap

import (
	"bytes"
	"cmp"
	"encoding/gob"
	"errors"
	"fmt"
	"slices"
)

// What is charged beside memory when a pair is given to gob by itself, so that hostile
// bytes run out of time when they run out of memory.
const (
	costTry   = 512
	costFail  = 2048
	costProbe = 16 << 10 // to ask gob for a type that it does not have

	costUndecoded = 256
)

// salvageBudget is the memory that it may take to go through a message pair by pair, and
// again that it may take to decode these. It is enough for any message whose values can be
// decoded within the budget.
func salvageBudget(raw []byte) int64 { return 2 * budget(raw) }

// salvage decodes the pairs of a message that cannot be decoded whole, each by itself. The
// map is nil if the message cannot be taken to pieces. The rest is nil if all of them can
// be decoded: gob may stumble where values follow each other.
//
// Pairs for which no memory is left count as those that cannot be decoded.
func salvage(raw []byte) (m map[interface{}]interface{}, rest *Rest) {
	if c := newCursor(raw); c.begin() == 0 || c.count() == 0 {
		return nil, nil
	}
	s, err := scan(raw, true)
	if err != nil {
		return nil, nil
	}
	v, err := newSalvager(s, salvageBudget(raw))
	if err != nil {
		return nil, nil
	}
	m = make(map[interface{}]interface{})
	left := make([]undecoded, 0, len(s.pairs)) // for gob
	for i := range s.pairs {
		if u := (undecoded{index: i}); !v.read(&u, m) {
			left = append(left, u)
		}
	}
	// The largest come last, so that one that is too much keeps no other from being seen.
	slices.SortStableFunc(left, func(a, b undecoded) int {
		return cmp.Compare(v.spots[a.index].size(), v.spots[b.index].size())
	})
	kept, pairs := make([]pair, 0, len(left)), left[:0]
	for _, u := range left {
		if !v.decode(&u, m) {
			kept = append(kept, s.pairs[u.index])
			u.index = len(pairs)
			pairs = append(pairs, u)
		}
	}
	if len(pairs) == 0 {
		return m, nil
	}
	if raw, _, err = s.message(kept); err != nil {
		return nil, nil
	}
	return m, &Rest{raw: raw, pairs: pairs}
}

// A salvager decodes pairs. It is the checker of a message in which all definitions stand
// at the beginning, so that a pair has no use for the pairs before it.
type salvager struct {
	*checker
	scan  *scanner
	spots []spot // of the pairs in the message

	// The decoder has read the definitions, and is then given message after message.
	gob  *gob.Decoder
	src  bytes.Reader
	next *writer
}

func newSalvager(s *scanner, budget int64) (*salvager, error) {
	raw, spots, err := s.message(s.pairs)
	if err != nil {
		return nil, err
	}
	v := &salvager{checker: newChecker(raw, budget), scan: s, spots: spots, next: newWriter()}
	v.next.message(0, v.top, 0)
	v.src.Reset(append(bytes.Clone(raw[:v.start]), v.next.buf[v.next.pos:]...))
	v.gob = gob.NewDecoder(&v.src)
	if err = v.err; err == nil {
		err = v.gob.Decode(&map[interface{}]interface{}{})
	}
	return v, err
}

// at makes the bytes from one position to another what is read next.
func (v *salvager) at(from, to int32) { v.pos, v.end, v.err, v.depth = int(from), int(to), nil, 0 }

// read is Read for one pair, whose key and value it puts into the map. It notes the key if
// it can be read.
func (v *salvager) read(u *undecoded, m map[interface{}]interface{}) bool {
	at := v.spots[u.index]
	v.at(at.key, at.val)
	u.key = v.key()
	if u.known = v.err == nil && v.pos == int(at.val); !u.known {
		return false
	}
	v.at(at.val, at.end)
	val := v.cursor.any()
	if v.err != nil || v.pos != int(at.end) {
		return false
	}
	m[u.key] = val
	return true
}

var errSpent = fmt.Errorf("there is too much that cannot be decoded: %w", ErrLimit)

// decode has gob decode one pair, and puts its key and its value into the map. If gob
// cannot decode the pair, it notes why.
func (v *salvager) decode(u *undecoded, m map[interface{}]interface{}) bool {
	if v.left < 0 {
		u.err = errSpent
		return false
	}
	p, at := v.scan.pairs[u.index], v.spots[u.index]
	key, val, err := v.decodePart(v.scan.pieces[p.key:p.end], at.key, at.end, 2)
	if err == nil {
		m[key] = val
		return true
	}
	u.err = err
	u.keyType = v.scan.typeName(v.scan.pieces[p.key:p.val])
	u.valType = v.scan.typeName(v.scan.pieces[p.val:p.end])
	v.left -= costUndecoded + int64(len(u.keyType)+len(u.valType))
	if !u.known {
		u.key, _, err = v.decodePart(v.scan.pieces[p.key:p.val], at.key, at.val, 1)
		u.known = err == nil
	}
	return false
}

// decodePart has gob decode what one position to another holds of a pair: the key alone,
// or both.
func (v *salvager) decodePart(pieces []piece, from, to int32, values int) (key, val any, err error) {
	v.at(from, to)
	if err := v.check(values); err != nil {
		return nil, nil, err
	}
	w := v.next
	w.pos = len(w.buf)
	if values == 1 {
		w.byte(0) // the value is nil
	}
	w.bytes(v.raw[from:to])
	w.message(1, v.top, 0)
	v.src.Reset(w.buf[w.pos:])
	if key, val, err = v.decodeNext(); err != nil {
		v.left -= v.costOfFailure(pieces)
	}
	return key, val, err
}

// check is Check for values in interfaces.
func (v *salvager) check(values int) (err error) {
	defer recovered(&err)
	for range values {
		v.more()
		v.value(idAny, nil, false)
	}
	if v.charge(costTry); v.err != nil {
		return errors.Unwrap(v.err)
	}
	return nil
}

func (v *salvager) decodeNext() (key, val any, err error) {
	defer recovered(&err)
	m := make(map[interface{}]interface{}, 1)
	err = v.gob.Decode(&m)
	for key, val = range m { // there is one
	}
	return key, val, err
}

// costOfFailure is what it takes gob to prepare the decoding of the types in the pieces.
// When it fails, it does so again the next time.
func (v *salvager) costOfFailure(pieces []piece) int64 {
	n := &numbering{next: firstID}
	v.scan.number(n, typesIn(nil, pieces))
	steps := len(n.types)
	for _, id := range n.types {
		steps += len(v.scan.typeOf(id).fields)
	}
	return costFail + costPlan*int64(steps)
}
