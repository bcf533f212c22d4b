package gobmap_test

import (
	"bytes"
	"errors"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/gobmap"
)

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
		"points":           list("[]gobmap_test.gobPoint", 67, zero, point),
		"nodes":            list("[]*gobmap_test.gobNode", 66, zero, gobStructDef(66, gobField("Val", 8))),
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
		"map of twos":      dict("map[string]*gobmap_test.gobTwo", 6, 66, zero, named),
		"map of ones":      dict("map[gobmap_test.gobPoint]gobmap_test.gobOne", 67, 66, zero, named, point),
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
			_, err := decode(raw)
			require.True(t, err == nil || raw == nil || errors.Is(err, gobmap.ErrLimit), "%s: %v", what, err)
			return err != nil
		})
		var err error
		raw := message(n)
		took := allocated(func() { _, err = decode(raw) })
		t.Logf("%-20s %7d of %7d take %8d", what, n, most, took)
		require.NoError(t, err, what)
		require.LessOrEqual(t, took, uint64(maxAllocated), what)
	}
}

// nested is a list in a list and so on, with val in the innermost.
func nested(levels int, val interface{}) interface{} {
	for range levels {
		val = []interface{}{val}
	}
	return val
}

// What is within the limits is written and read.
func TestGobWithinLimits(t *testing.T) {
	for what, val := range map[string]interface{}{
		"deep":                 nested(999, 1),
		"deep and registered":  nested(999, registered{}),
		"large":                make([]string, 300_000),
		"large and registered": append(make([]gobPoint, 30_000), gobPoint{1, 2}),
		"larger":               []string{strings.Repeat("x", 5<<20)},
	} {
		t.Run(what, func(t *testing.T) {
			checkRoundTrip(t, map[interface{}]interface{}{"fine": val, "fine too": registered{}})
			checkRoundTrip(t, map[interface{}]interface{}{"fine": val})
		})
	}
}
