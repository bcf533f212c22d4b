package gobmap_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/gobmap"
)

// FuzzSalvage has bytes of any kind decoded.
func FuzzSalvage(f *testing.F) {
	for _, raw := range messages(f) {
		f.Add(raw)
		f.Add(elsewhere(raw, restNames...))
	}
	data := registeredValues()
	data["user"] = 7
	for _, name := range restNames {
		f.Add(elsewhere(plainEncode(f, map[interface{}]interface{}{"user": 7, "list": []interface{}{data["one"], data["node"]}}), name))
		f.Add(elsewhere(plainEncode(f, data), name))
	}
	f.Fuzz(func(t *testing.T, raw []byte) { checkSalvage(t, raw) })
}

// checkSalvage checks that bytes of any kind take little, and that what they hold beside
// the decoded pairs can be joined to these again.
func checkSalvage(t testing.TB, raw []byte) {
	t.Helper()
	var m map[interface{}]interface{}
	var err error
	start := time.Now()
	if n := allocated(func() { m, err = gobmap.Decode(raw) }); len(raw) <= mib && n > maxSalvaged {
		t.Fatalf("%d bytes take %d bytes of memory", len(raw), n)
	}
	if took := time.Since(start); took > maxTime {
		t.Fatalf("%d bytes take %v", len(raw), took)
	}
	if whole, err := decode(raw); err == nil && !same(whole, m) {
		t.Fatalf("got %#.2000v, want %#.2000v", m, whole)
	}
	if err == nil {
		return
	}
	var u *gobmap.UndecodedError
	if !errors.As(err, &u) {
		require.Nil(t, m)
		return
	}
	require.Equal(t, len(m), u.Decoded)
	if u.Decoded == 0 {
		require.Nil(t, m)
	}
	maps.DeleteFunc(m, func(_, val interface{}) bool { return val == nil }) // as Encode does
	if len(m) == 0 {
		return
	}
	own, err := gobmap.Encode(m)
	if err != nil {
		return // what could be decoded pair by pair is too much for one message
	}
	all := joined(t, own, u.Rest)
	again, next := undecoded(t, all)
	if errors.Is(next, gobmap.ErrLimit) || errors.Is(u, gobmap.ErrLimit) {
		return
	}
	if want, err := decode(own); err != nil || !same(want, again) { // some types come back as another value
		t.Fatalf("got %#.2000v, want %#.2000v, %v", again, want, err)
	}
	require.Len(t, joined(t, own, next.Rest), len(all))
}

// maxSalvaged is what bytes up to 1 MiB may take that are taken to pieces.
const maxSalvaged = 4 * maxAllocated

// However many pairs cannot be decoded, those that can be are seen.
func TestRestOfManyPairs(t *testing.T) {
	data := make(map[interface{}]interface{})
	for i := range 500 {
		data[fmt.Sprint("item", i)] = []interface{}{gobPoint{i, i}, gobString("x"), gobOne{Name: "one"}}[i%3]
		data[i] = []interface{}{i, gobTags{"x"}}[i%2]
	}
	checkRest(t, data, "gobPoint", "gobString", "gobOne")
}

// A type that is unknown is asked for once.
func TestRestOfManyOfOneType(t *testing.T) {
	data := map[interface{}]interface{}{"one": gobOne{Name: strings.Repeat("x", 100)}}
	for i := range 3000 {
		data[i] = gobPoint{i, i}
	}
	m, _ := undecoded(t, elsewhere(plainEncode(t, data), "gobPoint"))
	require.Len(t, m, 1)
}

// What hostile bytes take beyond what they take when nothing is taken to pieces.
func TestSalvageIsSafe(t *testing.T) {
	head := gobValue("string", 6, []byte{0}, []byte{5})
	pair := func(i int, val []byte) []byte {
		return append(fmt.Appendf(bytes.Clone(head), "%05x", i), val...)
	}
	message := func(one func(i int) []byte, defs ...[]byte) []byte {
		var pairs []byte
		n := 1
		for size := mib - len(join(defs...)) - 100; ; n++ {
			next := pair(n, one(n))
			if len(pairs)+len(next) > size {
				break
			}
			pairs = append(pairs, next...)
		}
		return join(gobMapDef(64, 8, 8), join(defs...), gobPart(gobInt(64), []byte{0}, gobUint(uint64(n)), pairs, pair(0, gobValue("int", 2, []byte{0, 2}))))
	}
	always := func(val []byte) func(int) []byte { return func(int) []byte { return val } }
	numbered := func(val func(name string) []byte) func(int) []byte {
		return func(i int) []byte { return val(fmt.Sprintf("%05x", i)) }
	}
	point := gobStructDef(66, gobField("X", 2), gobField("Y", 2))
	broad := gobStructDef(67, append(gobFields(2000, 6), gobField("X", 6))...)
	var deep []byte
	for i := range int64(98) {
		deep = append(deep, gobSliceDef(80+i, 81+i)...)
	}
	deep = append(deep, gobSliceDef(178, 6)...)
	all := map[string][]byte{
		"one name":        message(always(gobValue("unknown", 2, []byte{0, 2}))),
		"one struct":      message(always(gobValue("unknown", 66, []byte{0})), point),
		"names":           message(numbered(func(name string) []byte { return gobValue(name, 2, []byte{0, 2}) })),
		"structs":         message(numbered(func(name string) []byte { return gobValue(name, 66, []byte{0}) }), point),
		"broad structs":   message(numbered(func(name string) []byte { return gobValue(name, 67, []byte{0}) }), broad),
		"misfits":         message(always(gobValue(pkg+"gobPoint", 67, []byte{0})), broad),
		"other misfits":   message(always(gobValue("[]gobmap_test.gobPoint", 80, []byte{0, 0})), deep),
		"inside of lists": message(always(gobValue(anyList, 65, []byte{0, 1}, gobValue("unknown", 66, []byte{0}))), gobSliceDef(65, 8), point),
		"lists of misfits": message(numbered(func(name string) []byte {
			return gobValue(anyList, 65, []byte{0, 2}, gobValue(pkg+"gobPoint", 67, []byte{0}), gobValue(name, 67, []byte{0}))
		}), gobSliceDef(65, 8), broad),
		"numbers":        message(always(gobValue("int8", 2, []byte{0, 0xfe, 9, 9}))),
		"times":          message(always(gobValue("time.Time", 65, []byte{0}, gobText("x"))), gobDef(gobEncoderKind, 65)),
		"points and one": message(always(gobValue(pkg+"gobPoint", 66, []byte{1, 2, 0})), point),
		"large lists":    message(always(gobValue("[]string", 65, []byte{0}, gobUint(50_000), make([]byte, 50_000))), gobSliceDef(65, 6)),
		"lists that end": message(always(gobValue("[]int8", 65, []byte{0}, gobUint(10_001), make([]byte, 10_000), []byte{0xfe, 9, 9})), gobSliceDef(65, 2)),
	}
	last := all["points and one"]
	copy(last[len(last)-8:], "\x03inX\x04\x00\x00\x02") // the last value is of an unknown type
	for name, raw := range hostile() {
		all["hostile "+name] = raw
	}
	for name, raw := range all {
		require.LessOrEqual(t, len(raw), mib, name)
		var err error
		var m map[interface{}]interface{}
		start := time.Now()
		n := allocated(func() { m, err = gobmap.Decode(raw) })
		took := time.Since(start)
		t.Logf("%-28s %8d bytes take %9d in %v: %.200v", name, len(raw), n, took.Round(time.Microsecond), err)
		require.LessOrEqual(t, n, uint64(maxSalvaged), name)
		require.Less(t, took, maxTime, name)
		if !strings.HasPrefix(name, "hostile") {
			require.NotEmpty(t, m, name)
		}
	}
}
