package gobmap

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// A scanner takes a message to pieces. It goes by what the message says of its types, and
// needs none of the Go types. Of the pieces it makes messages with some of the pairs.
//
// In such a message the types have other IDs, so the IDs and the lengths that stand before
// values in interfaces are written anew; all other bytes stay. And all definitions stand
// before the value. Gob puts them where a type is first used, which may be inside of
// another value, and so even in another pair.
type scanner struct {
	cursor
	top       int32 // the ID of the type of the data
	pairCount int

	partFrom, partTo int // the part of the message in which the pairs begin
	pairsAt          int // the first pair

	keep   bool // the pieces are kept
	from   int  // the bytes from here on are in no piece yet
	pieces []piece
	pairs  []pair
}

// A piece is bytes of the message that stay as they are. Before the end of a value in an
// interface, and where the ID of its type and its length stand, a piece ends.
type piece struct {
	from, to int32
	name     int32 // where the name of the type begins, with which the bytes end
	id       int32 // of this type; 0 if the bytes end with no name
	closes   int32 // how many values in interfaces end with the bytes
}

// A pair is a key and a value: pieces[key:val] and pieces[val:end].
type pair struct{ key, val, end int32 }

// What a scanner allocates.
const (
	costPiece = 100
	costSplit = 48 // for a pair
)

// maxScan is the length of a message up to which a scanner takes it, so that a position
// fits 32 bits.
const maxScan = 1 << 30

// scan goes through a message, and may keep the pieces.
func scan(raw []byte, keep bool) (*scanner, error) {
	if len(raw) > maxScan {
		return nil, fmt.Errorf("%d bytes: %w", len(raw), ErrLimit)
	}
	s := &scanner{cursor: newCursor(raw), keep: keep}
	s.left = salvageBudget(raw)
	s.top = s.begin()
	s.partFrom, s.partTo = s.start, s.end
	s.pairCount = s.count()
	s.pairsAt = s.pos
	for n := s.pairCount; n > 0 && s.err == nil; n-- {
		s.pair()
	}
	return s, s.err
}

func (s *scanner) pair() {
	s.more()
	s.from = s.pos
	p := pair{key: int32(len(s.pieces))}
	s.any()
	s.cut(0)
	p.val = int32(len(s.pieces))
	s.more()
	s.any()
	s.cut(0)
	p.end = int32(len(s.pieces))
	if s.keep {
		s.charge(costSplit)
		s.pairs = append(s.pairs, p)
	}
}

// cut ends a piece, with which values in interfaces end.
func (s *scanner) cut(closes int32) {
	switch {
	case s.from < s.pos:
		s.add(piece{from: int32(s.from), to: int32(s.pos), closes: closes})
	case closes > 0 && len(s.pieces) > 0:
		s.pieces[len(s.pieces)-1].closes += closes
	}
	s.from = s.pos
}

func (s *scanner) add(p piece) {
	if s.keep {
		s.charge(costPiece)
		s.pieces = append(s.pieces, p)
	}
}

// any goes through a value in an interface.
func (s *scanner) any() {
	name := len(s.bytes())
	if name == 0 {
		return
	}
	p := piece{from: int32(s.from), to: int32(s.pos), name: int32(s.pos - name)}
	if p.id = s.typeSequence(true); p.id == 0 {
		s.undefined(p.id)
	}
	s.uint()
	s.add(p)
	s.from = s.pos
	if p.id == idAny {
		s.enter()
		defer s.leave()
	}
	if d := s.typeOf(p.id); d == nil || d.kind != kindStruct {
		s.zero()
	}
	s.value(p.id)
	s.cut(1)
}

// value goes through a value of the type.
func (s *scanner) value(id int32) {
	switch id {
	case idBool, idInt, idUint, idFloat:
		s.uint()
		return
	case idComplex:
		s.uint()
		s.uint()
		return
	case idBytes, idString:
		s.bytes()
		return
	case idAny:
		s.any()
		return
	}
	d := s.typeOf(id)
	if d == nil {
		s.undefined(id)
		return
	}
	s.enter()
	defer s.leave()
	switch d.kind {
	case kindArray, kindSlice:
		for n := s.count(); n > 0 && s.err == nil; n-- {
			s.more()
			s.value(d.elem)
		}
	case kindMap:
		for n := s.count(); n > 0 && s.err == nil; n-- {
			s.more()
			s.value(d.key)
			s.more()
			s.value(d.elem)
		}
	case kindStruct:
		s.structValue(d)
	default: // a type that decodes itself
		s.bytes()
	}
}

// structValue goes through a struct. It must end with a zero: a struct that ends with its
// part is the last thing in a message, and would not be in another.
func (s *scanner) structValue(d *definition) {
	for i := -1; s.err == nil; s.value(d.fields[i].id) {
		delta := s.uint()
		if delta == 0 {
			return
		}
		if delta > uint64(len(d.fields)-1-i) {
			s.fail(errors.New("no such field"))
			return
		}
		i += int(delta)
	}
}

// typeName returns the name of the type of the first value in pieces, "" for nil.
func (s *scanner) typeName(pieces []piece) string {
	if len(pieces) == 0 || pieces[0].id == 0 {
		return ""
	}
	return string(s.raw[pieces[0].name:pieces[0].to])
}

// A numbering is the types that a message needs, with their IDs in that message.
type numbering struct {
	types []int32 // by their old IDs
	ids   map[int32]int32
	next  int32
}

// typesIn appends those of the pieces that end with the name of a type that is defined.
func typesIn(types, pieces []piece) []piece {
	for _, p := range pieces {
		if p.id >= firstID && (len(types) == 0 || types[len(types)-1].id != p.id) {
			types = append(types, p)
		}
	}
	return types
}

// number adds types, and all that they are made of, to a numbering. It goes by their names: gob
// writes the pairs of a map in random order, and messages with the same types shall have the same
// definitions.
func (s *scanner) number(n *numbering, types []piece) {
	slices.SortFunc(types, func(a, b piece) int {
		return bytes.Compare(s.raw[a.name:a.to], s.raw[b.name:b.to])
	})
	for _, t := range types {
		if n.ids[t.id] == 0 {
			s.numberType(n, t.id)
		}
	}
}

func (s *scanner) numberType(n *numbering, id int32) {
	if n.ids == nil {
		n.ids = make(map[int32]int32)
	}
	for todo := []int32{id}; len(todo) > 0 && s.err == nil; {
		id, todo = todo[len(todo)-1], todo[:len(todo)-1]
		if id >= idBool && id <= idAny || n.ids[id] != 0 {
			continue
		}
		d := s.typeOf(id)
		if d == nil {
			s.undefined(id)
			return
		}
		n.ids[id] = n.next
		n.next++
		n.types = append(n.types, id)
		switch d.kind {
		case kindMap:
			todo = append(todo, d.elem, d.key)
		case kindArray, kindSlice:
			todo = append(todo, d.elem)
		case kindStruct:
			for _, f := range d.fields {
				todo = append(todo, f.id)
			}
		default: // a type that encodes itself is made of nothing
		}
	}
}

// id returns the ID that a type has in the message.
func (n *numbering) id(old int32) int32 {
	if id := n.ids[old]; id != 0 {
		return id
	}
	return old
}

// define writes the definitions of all types.
func (s *scanner) define(w *writer, n *numbering) {
	for i := len(n.types) - 1; i >= 0; i-- {
		d := *s.typeOf(n.types[i])
		d.key, d.elem = n.id(d.key), n.id(d.elem)
		fields := make([]field, len(d.fields))
		for i, f := range d.fields {
			fields[i] = field{f.name, n.id(f.id)}
		}
		d.fields = fields
		name := ""
		if d.name != 0 {
			c := cursor{raw: s.raw, pos: int(d.name), end: len(s.raw)}
			name = string(c.bytes())
		}
		w.define(n.id(d.id), name, &d)
	}
}

// unusedID returns an ID that no type in the message has, and none greater than it.
func (s *scanner) unusedID() int32 {
	most := int32(firstID - 1)
	for i := range s.first[:s.n] {
		most = max(most, s.first[i].id)
	}
	for id := range s.types {
		most = max(most, id)
	}
	return most + 1
}

// put writes pieces.
func (s *scanner) put(w *writer, pieces []piece, n *numbering) {
	var ends []int
	for i := len(pieces) - 1; i >= 0; i-- {
		p := &pieces[i]
		for range p.closes {
			ends = append(ends, w.len())
		}
		if p.id != 0 {
			last := len(ends) - 1
			w.uint(uint64(w.len() - ends[last]))
			w.int(int64(n.id(p.id)))
			ends = ends[:last]
		}
		w.bytes(s.raw[p.from:p.to])
	}
}

// spot is where a pair is in a message: from key to val the key, from val to end the
// value.
type spot struct{ key, val, end int32 }

func (s spot) size() int32 { return s.end - s.key }

// message returns a message with some of the pairs, and where they are in it.
func (s *scanner) message(pairs []pair) (raw []byte, spots []spot, err error) {
	n := &numbering{next: firstID}
	s.numberType(n, s.top)
	types := make([]piece, 0, 8)
	for _, p := range pairs {
		types = typesIn(types, s.pieces[p.key:p.end])
	}
	s.number(n, types)
	if s.err != nil {
		return nil, nil, s.err
	}
	w := newWriter()
	spots = make([]spot, len(pairs))
	for i := len(pairs) - 1; i >= 0; i-- {
		p, at := pairs[i], &spots[i]
		at.end = int32(w.len())
		s.put(w, s.pieces[p.val:p.end], n)
		at.val = int32(w.len())
		s.put(w, s.pieces[p.key:p.val], n)
		at.key = int32(w.len())
	}
	w.message(len(pairs), n.id(s.top), 0)
	s.define(w, n)
	for i, at := range spots { // so far counted from the end
		all := int32(w.len())
		spots[i] = spot{all - at.key, all - at.val, all - at.end}
	}
	return w.buf[w.pos:], spots, nil
}
