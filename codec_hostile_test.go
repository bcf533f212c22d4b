package session_test

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/gobmap"
)

func gobOf(t *testing.T, val interface{}) []byte {
	t.Helper()
	var buf bytes.Buffer
	require.NoError(t, gob.NewEncoder(&buf).Encode(val))
	return buf.Bytes()
}

type (
	hashable   struct{ A int }
	unhashable struct {
		A int
		B []int
	}
)

// unhashableKey returns a gob whose key is of a type that is no key: it is
// written with one that is, and then given the name of the other.
func unhashableKey(t *testing.T) []byte {
	t.Helper()
	gob.RegisterName("key-that-can", hashable{})
	gob.RegisterName("key-that-not", unhashable{})
	raw := plainEncode(t, map[interface{}]interface{}{hashable{1}: "v"})
	require.True(t, bytes.Contains(raw, []byte("key-that-can")))
	return bytes.ReplaceAll(raw, []byte("key-that-can"), []byte("key-that-not"))
}

// hugeMap returns a gob of a map that claims 2^40 elements.
func hugeMap(t *testing.T) []byte {
	t.Helper()
	raw := plainEncode(t, map[interface{}]interface{}{})
	// The last message is: its length, the type ID, a zero, the count.
	require.Equal(t, byte(0), raw[len(raw)-1])
	raw[len(raw)-5]--
	raw = append(raw[:len(raw)-1], 0xfa, 1, 0, 0, 0, 0, 0)
	return raw
}

// What follows writes gobs that no encoder writes.

func gobUint(u uint64) []byte {
	if u < 0x80 {
		return []byte{byte(u)}
	}
	b := bytes.TrimLeft(binary.BigEndian.AppendUint64(nil, u), "\x00")
	return append([]byte{byte(-len(b))}, b...)
}

func gobInt(i int64) []byte { return gobUint(uint64(i<<1) ^ uint64(i>>63)) }

func gobText(s string) []byte { return append(gobUint(uint64(len(s))), s...) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func gobPart(parts ...[]byte) []byte { return gobText(string(join(parts...))) }

// The kinds of types in their definitions.
const (
	gobArrayKind = 1 + iota
	gobSliceKind
	gobStructKind
	gobMapKind
	gobEncoderKind
)

func gobDef(kind byte, id int64, parts ...[]byte) []byte {
	return gobPart(gobInt(-id), []byte{kind, 1, 2}, gobInt(id), []byte{0}, join(parts...), []byte{0, 0})
}

func gobSliceDef(id, elem int64) []byte {
	return gobDef(gobSliceKind, id, []byte{1}, gobInt(elem))
}

func gobMapDef(id, key, elem int64) []byte {
	return gobDef(gobMapKind, id, []byte{1}, gobInt(key), []byte{1}, gobInt(elem))
}

func gobArrayDef(id, elem, n int64) []byte {
	return gobDef(gobArrayKind, id, []byte{1}, gobInt(elem), []byte{1}, gobInt(n))
}

func gobStructDef(id int64, fields ...[]byte) []byte {
	return gobDef(gobStructKind, id, []byte{1}, gobUint(uint64(len(fields))), join(fields...))
}

func gobField(name string, id int64) []byte {
	return join([]byte{1}, gobText(name), []byte{1}, gobInt(id), []byte{0})
}

func gobFields(n int, id int64) (fields [][]byte) {
	for i := range n {
		fields = append(fields, gobField(fmt.Sprintf("F%x", i), id))
	}
	return fields
}

// gobValue is a value inside of an interface; decoders do not look at its length.
func gobValue(name string, id int64, parts ...[]byte) []byte {
	return join(gobText(name), gobInt(id), []byte{0}, join(parts...))
}

// gobMessage is a session with the value val under the key "k". The map's type
// is 64.
func gobMessage(val []byte, defs ...[]byte) []byte {
	return join(gobMapDef(64, 8, 8), join(defs...),
		gobPart(gobInt(64), []byte{0, 1}, gobValue("string", 6, []byte{0}, gobText("k")), val))
}

const (
	mib     = 1 << 20
	many    = mib - 300 // elements, with room for what stands around them
	pkg     = "github.com/flamego/session_test."
	anyList = "[]interface {}"
	anyMap  = "map[string]interface {}"
)

// hostile returns bytes up to 1 MiB that ask for much. Plain gob does not survive
// most of them. They are an error for the decoder if their name begins with an
// exclamation mark.
func hostile() map[string][]byte {
	repeat := func(n int, parts ...[]byte) []byte {
		part := join(parts...)
		return bytes.Repeat(part, min(n, many/len(part)))
	}
	zeros := func(count int) []byte { return append(gobUint(uint64(count)), make([]byte, count)...) }
	ones := bytes.Repeat([]byte{1}, many)
	zero, one := []byte{0}, []byte{0, 1}
	var chain, pairs []byte
	for i := int64(65); len(chain) < many; i++ {
		chain = append(chain, gobSliceDef(i, i+1)...)
	}
	for i := int64(65); i < 125; i++ {
		pairs = append(pairs, gobMapDef(i, i+1, i+1)...)
	}
	pairs = append(pairs, gobSliceDef(125, 2)...)
	point := gobStructDef(66, gobField("X", 2), gobField("Y", 2))
	points := gobMapDef(67, 66, 66)
	skip := join(gobStructDef(65, gobField("Skip", 8), gobField("Last", 66)), gobMapDef(66, 6, 2))
	wide := join(gobStructDef(66, gobFields(2000, 65)...), gobSliceDef(65, 2), gobStructDef(68, gobFields(2000, 66)...), gobSliceDef(67, 8))
	zone := "\x01\x00\x00\x00\x0e\xe0\xe9\x2c\xa5\x00\x00\x00\x00\x01\x07"

	m := map[string][]byte{
		"!deep list":    gobMessage(repeat(mib, gobValue(anyList, 65, one)), gobSliceDef(65, 8)),
		"!deep map":     gobMessage(repeat(mib, gobValue(anyMap, 65, one, zero)), gobMapDef(65, 6, 8)),
		"!deep self":    gobMessage(gobValue(pkg+"gobSelf", 65, zero, ones), gobSliceDef(65, 65)),
		"!deep node":    gobMessage(gobValue("*session_test.gobNode", 65, ones), gobStructDef(65, gobField("Next", 65))),
		"!deep skipped": gobMessage(gobValue(pkg+"gobPoint", 65, ones), gobStructDef(65, gobField("Other", 65))),

		"!chain of types":       gobMessage(gobValue(anyList, 65, []byte{0, 0}), chain),
		"!pairs of types":       gobMessage(gobValue(anyList, 65, []byte{0, 0}), pairs),
		"!pairs skipped":        gobMessage(gobValue(pkg+"gobPoint", 126, zero), pairs, gobStructDef(126, gobField("Other", 65))),
		"!wide struct":          gobMessage(gobValue(pkg+"gobPoint", 66, zero), gobStructDef(66, gobFields(100_000, 6)...)),
		"!wide structs":         gobMessage(gobValue(anyList, 67, []byte{0, 3}, gobValue(pkg+"gobOne", 68, zero), gobValue(pkg+"gobTwo", 68, zero), gobValue(pkg+"gobPoint", 68, zero)), wide),
		"!type of types":        gobMessage(gobValue(pkg+"registered", 18, []byte{1, 1, 'x', 0})),
		"!type of types inside": gobMessage(gobValue(pkg+"gobPoint", 65, []byte{1, 0, 0}), gobStructDef(65, gobField("Other", 18))),
		"!type of two kinds":    gobMessage(nil, gobPart(gobInt(-65), []byte{1, 0, 1, 0, 0})),
		"!type of no kind":      gobMessage(nil, gobPart(gobInt(-65), zero)),
		"!type twice":           gobMessage(nil, gobSliceDef(65, 2), gobSliceDef(65, 2)),
		"!type not defined":     gobMessage(gobValue("[]int", 65, []byte{0, 0})),

		"!long part":       append(gobUint(9*mib), 1, 2, 3),
		"!longest part":    append(gobUint(1<<62), 1, 2, 3),
		"!empty parts":     make([]byte, mib),
		"!long name":       gobMessage(gobText(strings.Repeat("n", many))),
		"!unknown names":   gobMessage(append(gobValue(anyList, 65, zero, gobUint(20_000)), repeat(20_000, gobValue("unknown", 66, zero))...), gobSliceDef(65, 8), point),
		"!array":           gobMessage(gobValue(pkg+"gobArray", 65, zero, gobUint(1<<40)), gobArrayDef(65, 66, 1<<40), point),
		"!array of itself": gobMessage(gobValue(pkg+"gobArray", 65, zero, ones), gobArrayDef(65, 65, 1)),
		"!array of a map":  gobMessage(gobValue(pkg+"gobArray", 65, one), gobArrayDef(65, 67, 1), points, point),

		"!endless":           gobMessage(gobValue(pkg+"gobOne", 65, []byte{1}, gobUint(1<<60)), gobStructDef(65, gobField("Points", 67)), points, point),
		"!endless skipped":   gobMessage(gobValue(pkg+"gobPoint", 65, []byte{1}, gobUint(1<<60)), gobStructDef(65, gobField("Points", 67)), points, point),
		"!begins at the end": gobMessage(gobValue(pkg+"gobOne", 65, []byte{1, 2, 0, 0}), gobStructDef(65, gobField("Points", 67)), points, point),
		"!count after skip":  gobMessage(gobValue(pkg+"gobTwo", 65, []byte{1}, gobText("x"), []byte{4, 2, 0, 0, 1}, gobUint(1<<40)), skip),
		"!count after nil":   gobMessage(gobValue(pkg+"gobTwo", 65, []byte{1, 0, 4, 0, 1}, gobUint(1<<40)), skip),
		"one after skip":     gobMessage(gobValue(pkg+"gobTwo", 65, []byte{1}, gobText("x"), []byte{4, 2, 0, 0, 1, 1, 1, 'a', 2, 0}), skip),
		"one after nil":      gobMessage(gobValue(pkg+"gobTwo", 65, []byte{1, 0, 4, 0, 1, 1, 1, 'a', 2, 0}), skip),

		"!unhashable":        join(gobMapDef(64, 8, 8), gobSliceDef(65, 6), gobPart(gobInt(64), one, gobValue("[]string", 65, []byte{0, 0}), zero)),
		"!unhashable inside": gobMessage(gobValue("map[interface {}]interface {}", 64, one, gobValue("[]uint8", 5, []byte{0, 0}), zero)),
		"!unhashable struct": join(gobMapDef(64, 8, 8), gobStructDef(65, gobField("A", 2)), gobPart(gobInt(64), one, gobValue("key-that-not", 65, zero), zero)),

		"!empty strings":    gobMessage(gobValue("[]string", 65, zero, zeros(many)), gobSliceDef(65, 6)),
		"!nils":             gobMessage(gobValue(anyList, 65, zero, zeros(many)), gobSliceDef(65, 8)),
		"!one key":          gobMessage(gobValue(anyMap, 65, zero, gobUint(many/2), make([]byte, many)), gobMapDef(65, 6, 8)),
		"!points":           gobMessage(gobValue("[]session_test.gobPoint", 65, zero, zeros(many)), gobSliceDef(65, 66), point),
		"!points of 0 size": gobMessage(gobValue("[]session_test.gobPoint", 65, zero, zeros(many)), gobSliceDef(65, 66), gobStructDef(66)),
		"!blobs":            gobMessage(gobValue("[][]uint8", 65, zero, zeros(many)), gobSliceDef(65, 5)),
		"!times":            gobMessage(gobValue("[]time.Time", 65, zero, gobUint(many/16), repeat(many, gobText(zone))), gobSliceDef(65, 66), gobDef(gobEncoderKind, 66)),
		"small numbers":     gobMessage(gobValue("[]int", 65, zero, zeros(many)), gobSliceDef(65, 2)),
		"empty maps":        gobMessage(gobValue(anyList, 65, zero, gobUint(20_000), repeat(20_000, gobValue("map[string]string", 66, []byte{0, 0}))), gobSliceDef(65, 8), gobMapDef(66, 6, 6)),
		"bytes":             gobMessage(gobValue("[]uint8", 5, zero, zeros(many))),
		"text":              gobMessage(gobValue("string", 6, zero, zeros(many))),
		"named text":        gobMessage(gobValue(pkg+"gobString", 6, zero, zeros(many))),
	}
	for _, n := range []uint64{many, 1 << 31, 1 << 60, 1 << 63, 1<<64 - 1} {
		count := append([]byte{0}, gobUint(n)...)
		add := func(what string, raw []byte) { m[fmt.Sprintf("!%d in %s", n, what)] = raw }
		add("the data", join(gobMapDef(64, 8, 8), gobPart(gobInt(64), count)))
		add("a string", gobMessage(gobValue("string", 6, count)))
		add("bytes", gobMessage(gobValue("[]uint8", 5, count)))
		add("a time", gobMessage(gobValue("time.Time", 65, count), gobDef(gobEncoderKind, 65)))
		for name, elem := range map[string]int64{anyList: 8, "[]string": 6, "[]int": 2, "[]bool": 1, "[]float64": 4, "[]complex128": 7, "[][]uint8": 5, pkg + "gobTags": 6} {
			add(name, gobMessage(gobValue(name, 65, count), gobSliceDef(65, elem)))
		}
		for name, elem := range map[string]int64{anyMap: 8, "map[string]string": 6, "map[string]bool": 1, "map[string]int": 2} {
			add(name, gobMessage(gobValue(name, 65, count), gobMapDef(65, 6, elem)))
			add(name+" in a list", gobMessage(gobValue(anyList, 66, one, gobValue(name, 65, count)), gobMapDef(65, 6, elem), gobSliceDef(66, 8)))
		}
		last := join(gobStructDef(65, gobField("Last", 66)), gobMapDef(66, 6, 2))
		add("map[string][]string", gobMessage(gobValue("map[string][]string", 65, one, zero, gobUint(n)), gobMapDef(65, 6, 66), gobSliceDef(66, 6)))
		add("a struct", gobMessage(gobValue(pkg+"gobOne", 65, []byte{1}, gobUint(n)), last))
		add("a struct, skipped", gobMessage(gobValue(pkg+"gobPoint", 65, []byte{1}, gobUint(n)), last))
		add("points", gobMessage(gobValue("[]session_test.gobPoint", 65, count), gobSliceDef(65, 66), point))
		add("a name", gobMessage(gobUint(n)))
		add("a type", gobMessage(nil, gobPart(gobInt(-65), []byte{3, 1, 0, 1}, gobUint(n))))
	}
	return m
}

// Whatever the bytes ask for, the decoder takes little memory and little time.
func TestGobDecoderIsSafe(t *testing.T) {
	unhashableKey(t) // registers two types
	for name, raw := range hostile() {
		require.LessOrEqual(t, len(raw), mib, name)
		var data session.Data
		var err error
		start := time.Now()
		n := allocated(func() { data, err = session.GobDecoder(raw) })
		took := time.Since(start).Round(time.Microsecond)
		t.Logf("%-40s %8d bytes take %9d in %v: %v", name, len(raw), n, took, err)
		require.LessOrEqual(t, n, uint64(maxAllocated), name)
		require.Less(t, took, maxTime, name)
		if strings.HasPrefix(name, "!") {
			require.Error(t, err, name)
			require.Nil(t, data, name)
		} else {
			require.NoError(t, err, name)
		}
	}
}

// elements makes a value, of the type with ID 70, of n elements or fields.
type elements struct {
	name  string
	def   []byte             // nil for a struct, whose fields the elements are
	elem  func(i int) []byte // in a list or a map
	field int64              // the type of the fields
	extra []byte             // definitions of other types
}

// What the decoder counts before it decodes is an upper bound: with as many
// elements as it accepts in 1 MiB, whatever they are, it takes no more than it may.
func TestGobDecoderAtItsLimit(t *testing.T) {
	list := func(name string, id int64, elem []byte, extra ...[]byte) elements {
		return elements{name: name, def: gobSliceDef(70, id), elem: func(int) []byte { return elem }, extra: join(extra...)}
	}
	anys := func(name string, id int64, val []byte, extra ...[]byte) elements {
		return list(anyList, 8, gobValue(name, id, val), extra...)
	}
	dict := func(name string, key, id int64, elem []byte, extra ...[]byte) elements {
		return elements{name: name, def: gobMapDef(70, key, id), extra: join(extra...), elem: func(i int) []byte {
			switch key {
			case 6:
				return append(gobText(string([]byte{byte(i), byte(i >> 8), byte(i >> 16)})), elem...)
			case 8:
				return join(gobValue("int", 2, []byte{0}, gobInt(int64(i))), elem)
			default: // gobPoint
				return join([]byte{1}, gobInt(int64(i+1)), []byte{0}, elem)
			}
		}}
	}
	text := func(n int) []byte { return gobText(strings.Repeat("x", n)) }
	zero := []byte{0}
	zone := gobText("\x01\x00\x00\x00\x0e\xe0\xe9\x2c\xa5\x00\x00\x00\x00\x01\x07")
	opaque := gobDef(gobEncoderKind, 66)
	point := gobStructDef(67, gobField("X", 2), gobField("Y", 2))
	named := gobStructDef(66, gobField("Name", 6))
	var chain []byte
	for i := range int64(90) {
		chain = append(chain, gobSliceDef(80+i, 81+i)...)
	}
	chain = append(chain, gobSliceDef(170, 2)...)
	nine := []byte{0, 9}
	for i := range 9 {
		nine = append(nine, 1, byte(i), 1)
	}

	for what, e := range map[string]elements{
		"empty strings":    list("[]string", 6, text(0)),
		"strings of 1":     list("[]string", 6, text(1)),
		"strings of 2":     list("[]string", 6, text(2)),
		"strings of 33":    list("[]string", 6, text(33)),
		"numbers":          list("[]int", 2, zero),
		"complex":          list("[]complex128", 7, []byte{0, 0}),
		"nils":             list(anyList, 8, zero),
		"any bools":        anys("bool", 1, []byte{0, 1}),
		"any ints":         anys("int", 2, []byte{0, 0xfe, 9, 9}),
		"any strings":      anys("string", 6, []byte{0, 2, 'x', 'y'}),
		"any named":        anys(pkg+"gobString", 6, []byte{0, 2, 'x', 'y'}),
		"any bytes":        anys("[]uint8", 5, []byte{0, 2, 'x', 'y'}),
		"any maps of 0":    anys("map[string]bool", 66, []byte{0, 0}, gobMapDef(66, 6, 1)),
		"any maps of 1":    anys(anyMap, 66, []byte{0, 1, 0, 0}, gobMapDef(66, 6, 8)),
		"any maps of 9":    anys("map[string]bool", 66, nine, gobMapDef(66, 6, 1)),
		"any lists of 1":   anys(anyList, 70, []byte{0, 1, 0}),
		"any times":        anys("time.Time", 66, append([]byte{0}, zone...), opaque),
		"any numbers":      anys("*big.Int", 66, []byte{0, 0}, opaque),
		"any points":       anys(pkg+"gobPoint", 67, zero, point),
		"any ones":         anys(pkg+"gobOne", 66, zero, named),
		"times":            list("[]time.Time", 66, zone, opaque),
		"points":           list("[]session_test.gobPoint", 67, zero, point),
		"nodes":            list("[]*session_test.gobNode", 66, zero, gobStructDef(66, gobField("Val", 8))),
		"pointers":         list("[]*int", 2, zero),
		"blobs of 0":       list("[][]uint8", 5, text(0)),
		"blobs of 1":       list("[][]uint8", 5, text(1)),
		"selves of 0":      list(pkg+"gobSelf", 70, zero),
		"selves of 1":      list(pkg+"gobSelf", 70, []byte{1, 0}),
		"map of nils":      dict(anyMap, 6, 8, zero),
		"map of bools":     dict("map[string]bool", 6, 1, zero),
		"map of strings":   dict("map[string]string", 6, 6, text(1)),
		"map of lists":     dict("map[string][]string", 6, 66, []byte{1, 0}, gobSliceDef(66, 6)),
		"map of any":       dict("map[interface {}]interface {}", 8, 8, zero),
		"map of twos":      dict("map[string]*session_test.gobTwo", 6, 66, zero, named),
		"map of ones":      dict("map[session_test.gobPoint]session_test.gobOne", 67, 66, zero, named, point),
		"fields":           {name: pkg + "gobPoint", field: 6},
		"fields of any":    {name: pkg + "gobPoint", field: 8},
		"fields of lists":  {name: pkg + "gobPoint", field: 80, extra: chain},
		"fields of points": {name: pkg + "gobPoint", field: 67, extra: point},
	} {
		// Filler makes it 1 MiB, so that the decoder takes as much as it ever does.
		message := func(n int) []byte {
			var def, val []byte
			if e.def == nil {
				def = gobStructDef(70, append(gobFields(n, e.field), gobField("X", 2))...)
				val = gobValue(e.name, 70, zero)
			} else {
				var all bytes.Buffer
				for i := range n {
					all.Write(e.elem(i))
				}
				def = e.def
				val = gobValue(e.name, 70, zero, gobUint(uint64(n)), all.Bytes())
			}
			size := mib - 300 - len(def) - len(e.extra) - len(val)
			if size < 0 {
				return nil
			}
			filler := gobValue("[]uint8", 5, zero, text(size))
			return gobMessage(gobValue(anyList, 65, []byte{0, 2}, filler, val), gobSliceDef(65, 8), e.extra, def)
		}
		most, steps := 8192, 4
		if e.def != nil {
			most = (mib - 600) / len(e.elem(1))
		}
		n := most / steps * sort.Search(steps, func(i int) bool {
			raw := message(most / steps * (i + 1))
			_, err := session.GobDecoder(raw)
			require.True(t, err == nil || raw == nil || errors.Is(err, gobmap.ErrLimit), "%s: %v", what, err)
			return err != nil
		})
		var err error
		raw := message(n)
		took := allocated(func() { _, err = session.GobDecoder(raw) })
		t.Logf("%-20s %7d of %7d take %8d", what, n, most, took)
		require.NoError(t, err, what)
		require.LessOrEqual(t, took, uint64(maxAllocated), what)
	}
}
