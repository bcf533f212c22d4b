package gobmap_test

import (
	"errors"
	"flag"
	"math/rand/v2"
	"testing"

	"github.com/flamego/session/internal/gobmap"
)

var madeUp = flag.Int("made-up", 1000, "the number of messages of types made up")

// A typist writes messages of types that are made up: structs with some of the
// fields of gobOne and others, in values that may be named after any of the types
// that have some of these fields.
type typist struct {
	*rand.Rand
	structs map[int64][]int64 // the types of the fields
	depth   int
}

// typistDefs are the types of the fields of gobOne, and of others.
var typistDefs = join(
	gobStructDef(66, gobField("X", 2), gobField("Y", 2)), gobMapDef(67, 66, 66), gobDef(gobEncoderKind, 68),
	gobSliceDef(69, 70), gobSliceDef(70, 71), gobMapDef(71, 6, 72), gobArrayDef(72, 7, 2), gobMapDef(73, 6, 2),
	gobSliceDef(74, 8), gobStructDef(75), gobMapDef(76, 75, 8),
)

func (y typist) message() []byte {
	fields := []struct {
		name string
		id   int64
	}{
		{"Name", 6}, {"Any", 8}, {"List", 74}, {"Points", 67}, {"At", 68}, {"Big", 68}, {"Deep", 69}, {"Last", 73},
		{"Other", 80}, {"Val", 8}, {"Next", 81}, {"Skip", 8}, {"Skips", 74}, {"Odd", 76}, {"X", 2}, {"last", 73},
	}
	defs := typistDefs
	for id := int64(80); id < 84; id++ {
		var def [][]byte
		for _, i := range y.Perm(len(fields))[:1+y.IntN(6)] {
			f := fields[i]
			if y.IntN(30) == 0 {
				f.id = 66 + y.Int64N(18)
			}
			def = append(def, gobField(f.name, f.id))
			y.structs[id] = append(y.structs[id], f.id)
		}
		defs = join(defs, gobStructDef(id, def...))
	}
	raw := gobMessage(y.value(8), defs)
	if y.IntN(4) == 0 {
		raw[len(raw)-1-y.IntN(min(40, len(raw)))] ^= 1 << y.IntN(8)
	}
	return raw
}

// value returns a value of the type.
func (y typist) value(id int64) []byte {
	if y.depth++; y.depth > 12 {
		return []byte{0}
	}
	n := y.IntN(3)
	count := gobUint(uint64(n))
	all := func(ids ...int64) []byte {
		var b []byte
		for _, id := range ids {
			b = append(b, y.value(id)...)
		}
		return b
	}
	switch id {
	case 1, 2, 3, 4:
		return gobUint(y.Uint64() >> y.IntN(64))
	case 5, 6:
		return gobText("abc"[:n])
	case 7:
		return []byte{1, 2}
	case 8:
		return y.any()
	case 66:
		return []byte{1, 2, 1, 4, 0}
	case 67:
		return join(count, all([]int64{66, 66, 66, 66}[:2*n]...))
	case 68:
		return gobText("\x01\x00\x00\x00\x0e\xe0\xe9\x2c\xa5\x00\x00\x00\x00\x01\x07"[:15*(1-n/2)])
	case 69, 70:
		return join(count, all([]int64{id + 1, id + 1}[:n]...))
	case 71:
		return join(count, all([]int64{6, 72, 6, 72}[:2*n]...))
	case 72:
		return join([]byte{2}, all(7, 7))
	case 73:
		return join(count, all([]int64{6, 2, 6, 2}[:2*n]...))
	case 74:
		return join(count, all([]int64{8, 8}[:n]...))
	case 75:
		return []byte{0}
	case 76:
		return join(count, all([]int64{75, 8, 75, 8}[:2*n]...))
	}
	var b []byte
	last := -1
	for i, id := range y.structs[id] {
		if y.IntN(3) > 0 {
			b = join(b, gobUint(uint64(i-last)), y.value(id))
			last = i
		}
	}
	return append(b, 0)
}

func (y typist) any() []byte {
	name, id := pkg+sixLetters[y.IntN(len(sixLetters))], 80+y.Int64N(4)
	switch y.IntN(12) {
	case 0:
		return []byte{0}
	case 1:
		name, id = "int", 2
	case 2:
		name, id = anyList, 74
	case 3:
		name, id = "map[string]int", 73
	case 4:
		name, id = "*big.Int", 68
	case 5:
		name, id = "[]gobmap_test.gobPoint", 66
	}
	val := y.value(id)
	if id < 80 && id != 66 {
		val = append([]byte{0}, val...)
	}
	if y.IntN(20) == 0 {
		val = append(gobSliceDef(90+y.Int64N(1000), 2), val...)
	}
	size := len(val)
	if y.IntN(20) == 0 {
		size = y.IntN(10)
	}
	return join(gobText(name), gobInt(id), gobUint(uint64(size)), val)
}

func TestGobAgreesOnTypesMadeUp(t *testing.T) {
	decoded, refused := 0, 0
	for seed := range uint64(*madeUp) {
		y := typist{Rand: rand.New(rand.NewPCG(seed, 1)), structs: make(map[int64][]int64)}
		raw := y.message()
		checkDecode(t, raw)
		if _, err := decode(raw); err == nil {
			decoded++
		} else if errors.Is(err, gobmap.ErrLimit) {
			refused++
		}
	}
	t.Logf("of %d messages %d could be decoded, %d were refused", *madeUp, decoded, refused)
}
