package gobmap_test

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A type that is no key of a map.
type unhashable struct {
	A int
	B []int
}

func init() { gob.RegisterName("key-that-not", unhashable{}) }

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
	pkg     = "github.com/flamego/session/internal/gobmap_test."
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
		"!deep node":    gobMessage(gobValue("*gobmap_test.gobNode", 65, ones), gobStructDef(65, gobField("Next", 65))),
		"!deep skipped": gobMessage(gobValue(pkg+"gobPoint", 65, ones), gobStructDef(65, gobField("Other", 65))),

		"!chain of types":       gobMessage(gobValue(anyList, 65, []byte{0, 0}), chain),
		"!pairs of types":       gobMessage(gobValue(anyList, 65, []byte{0, 0}), pairs),
		"!pairs skipped":        gobMessage(gobValue(pkg+"gobPoint", 126, zero), pairs, gobStructDef(126, gobField("Other", 65))),
		"!wide struct":          gobMessage(gobValue(pkg+"gobPoint", 66, zero), gobStructDef(66, gobFields(100_000, 6)...)),
		"!wide structs":         gobMessage(gobValue(anyList, 67, []byte{0, 3}, gobValue(pkg+"gobOne", 68, zero), gobValue(pkg+"gobTwo", 68, zero), gobValue(pkg+"gobPoint", 68, zero)), wide),
		"!type of types":        gobMessage(gobValue("github.com/flamego/session_test.registered", 18, []byte{1, 1, 'x', 0})),
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
		"!points":           gobMessage(gobValue("[]gobmap_test.gobPoint", 65, zero, zeros(many)), gobSliceDef(65, 66), point),
		"!points of 0 size": gobMessage(gobValue("[]gobmap_test.gobPoint", 65, zero, zeros(many)), gobSliceDef(65, 66), gobStructDef(66)),
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
		add("points", gobMessage(gobValue("[]gobmap_test.gobPoint", 65, count), gobSliceDef(65, 66), point))
		add("a name", gobMessage(gobUint(n)))
		add("a type", gobMessage(nil, gobPart(gobInt(-65), []byte{3, 1, 0, 1}, gobUint(n))))
	}
	return m
}

// Whatever the bytes ask for, the decoder takes little memory and little time.
func TestGobDecoderIsSafe(t *testing.T) {
	for name, raw := range hostile() {
		require.LessOrEqual(t, len(raw), mib, name)
		var data map[interface{}]interface{}
		var err error
		start := time.Now()
		n := allocated(func() { data, err = decode(raw) })
		took := time.Since(start).Round(time.Microsecond)
		t.Logf("%-40s %8d bytes take %9d in %v: %v", name, len(raw), n, took, err)
		require.LessOrEqual(t, n, uint64(maxAllocated), name)
		require.Less(t, took, maxTime, name)
		switch {
		case !strings.HasPrefix(name, "!"):
			require.NoError(t, err, name)
		case err != nil:
			require.Nil(t, data, name)
		default: // many empty elements take half the memory where an int has 32 bits
			require.Contains(t, []string{"!empty strings", "!nils", "!points of 0 size"}, name)
			require.Equal(t, 32, strconv.IntSize, name)
		}
	}
}
