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

// What another process has registered and this one has not is made by other names in the
// bytes. They are as long, so that a message with them is as valid.

// restNames are the types that may be unknown.
var restNames = []string{"gobOne", "gobString", "gobTags", "gobPoint", "gobNode", "gobBytes", "gobArray", "gobSelf"}

// elsewhere makes the types unknown here.
func elsewhere(raw []byte, names ...string) []byte {
	for _, name := range names {
		raw = bytes.ReplaceAll(raw, []byte("gobmap_test."+name), []byte("gobmap_test."+unknown(name)))
	}
	return raw
}

func unknown(name string) string { return "x" + name[1:] }

// here makes all types known again.
func here(raw []byte) []byte {
	for _, name := range restNames {
		raw = bytes.ReplaceAll(raw, []byte("gobmap_test."+unknown(name)), []byte("gobmap_test."+name))
	}
	return raw
}

// undecoded decodes a message of which a part can be decoded.
func undecoded(t testing.TB, raw []byte) (map[interface{}]interface{}, *gobmap.UndecodedError) {
	t.Helper()
	m, err := gobmap.Decode(raw)
	var u *gobmap.UndecodedError
	require.ErrorAs(t, err, &u)
	require.NotEmpty(t, m)
	require.Equal(t, len(m), u.Decoded)
	return m, u
}

func joined(t testing.TB, raw []byte, rest *gobmap.Rest) []byte {
	t.Helper()
	all, err := gobmap.Join(raw, rest)
	require.NoError(t, err)
	return all
}

// empty is a message with nothing in it.
func empty(t testing.TB) []byte { return plainEncode(t, map[interface{}]interface{}{}) }

// checkRest checks that of the data all is seen that gob can decode where some types are
// unknown, and that the rest comes back where they are known.
func checkRest(t testing.TB, data map[interface{}]interface{}, names ...string) {
	t.Helper()
	if data = plainDecode(t, plainEncode(t, data)); !same(data, plainDecode(t, plainEncode(t, data))) {
		return // a time whose zone is off by seconds is another time whenever it is encoded
	}
	visible := make(map[interface{}]interface{})
	for key, val := range data {
		m, err := tryPlainDecode(elsewhere(plainEncode(t, map[interface{}]interface{}{key: val}), names...))
		for key, val := range m {
			if err == nil {
				visible[key] = val
			}
		}
	}
	ours, err := gobmap.Encode(data)
	require.NoError(t, err)
	plain := plainEncode(t, data)
	want := plainDecode(t, plain)
	for who, raw := range map[string][]byte{"ours": ours, "gob's": plain} {
		raw = elsewhere(raw, names...)
		got, err := gobmap.Decode(raw)
		switch {
		case len(visible) == 0 && len(data) > 0:
			require.Error(t, err, who)
			require.Nil(t, got, who)
			continue
		case len(visible) == len(data):
			require.NoError(t, err, who)
			continue
		}
		var u *gobmap.UndecodedError
		require.ErrorAs(t, err, &u, who)
		if !same(visible, got) {
			t.Fatalf("%s: got %#.2000v, want %#.2000v", who, got, visible)
		}

		// The rest is carried along, by both encoders and time and again.
		size := len(joined(t, empty(t), u.Rest))
		for range 3 {
			ours, err := gobmap.Encode(got)
			require.NoError(t, err)
			for by, raw := range map[string][]byte{"ours": ours, "gob": plainEncode(t, got)} {
				raw = joined(t, raw, u.Rest)
				if all := plainDecode(t, here(raw)); !same(want, all) {
					t.Fatalf("%s, joined by %s: got %#.2000v, want %#.2000v", who, by, all, want)
				}
				if got, u = undecoded(t, raw); !same(visible, got) {
					t.Fatalf("%s, joined by %s: got %#.2000v, want %#.2000v", who, by, got, visible)
				}
				require.Len(t, joined(t, empty(t), u.Rest), size)
			}
		}
	}
}

// Each type of the tests in turn is unknown, and then all of them.
func TestRest(t *testing.T) {
	data := registeredValues()
	for i := range 20 {
		data[i] = i
	}
	data["nested"] = []interface{}{[]interface{}{gobString("s"), map[string]interface{}{"p": gobPoint{1, 2}}}, []string{"x"}}
	for _, name := range restNames {
		checkRest(t, data, name)
	}
	checkRest(t, data, restNames...)
	checkRest(t, map[interface{}]interface{}{"user": 7, "prefs": gobPoint{1, 2}}, "gobPoint")
	checkRest(t, map[interface{}]interface{}{"prefs": gobPoint{1, 2}, gobString("k"): gobTags{}}, "gobPoint", "gobString")
}

func FuzzRest(f *testing.F) {
	for i := range 60 {
		f.Add(bytes.Repeat([]byte{byte(i * 37), byte(i), 3, byte(i + 7), 14, 0, 'a', byte(i * 5), 15, 2, 1}, i/4+1))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if bytes.Contains(src, []byte("gobmap_test.")) {
			t.Skip() // data that would be renamed
		}
		b := builder{src: src}
		var names []string
		for i, mask := 0, b.next(); i < len(restNames); i++ {
			if mask>>i&1 != 0 {
				names = append(names, restNames[i])
			}
		}
		data := make(map[interface{}]interface{})
		for range b.next() % 8 {
			if val := b.value(0); val != nil {
				data[b.key()] = val
			}
		}
		checkRest(t, data, names...)
	})
}

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
	require.NotEmpty(t, m)
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
	if !same(m, again) {
		t.Fatalf("got %#.2000v, want %#.2000v", again, m)
	}
	require.Len(t, joined(t, own, next.Rest), len(all))
}

// maxSalvaged is what bytes up to 1 MiB may take that are taken to pieces.
const maxSalvaged = 4 * maxAllocated

func TestRestOfKeys(t *testing.T) {
	data := map[interface{}]interface{}{"user": 7, "prefs": gobPoint{1, 2}, "tags": gobTags{"a"}, 5: gobPoint{}, gobString("k"): 1, gobString("l"): gobTags{"b"}}
	m, u := undecoded(t, elsewhere(plainEncode(t, data), "gobPoint", "gobTags", "gobString"))
	require.Equal(t, map[interface{}]interface{}{"user": 7}, m)
	for key, want := range map[interface{}]bool{"prefs": true, "tags": true, 5: true, "user": false, int64(5): false, gobString("k"): false, "k": false} {
		require.Equal(t, want, u.Rest.Has(key), key)
	}
	require.Same(t, u.Rest, u.Rest.Without(func(key interface{}) bool { return key == "user" }))

	rest := u.Rest.Without(func(key interface{}) bool { return key == "prefs" || key == 5 })
	delete(data, "prefs")
	delete(data, 5)
	raw := joined(t, plainEncode(t, m), rest)
	require.Equal(t, data, plainDecode(t, here(raw)))
	require.Contains(t, string(raw), "\x07gobTags", "the definition has lost its name")
	require.True(t, u.Rest.Has("prefs"), "the rest has changed")

	rest = rest.Without(func(interface{}) bool { return true })
	delete(data, "tags")
	require.Equal(t, data, plainDecode(t, here(joined(t, plainEncode(t, m), rest))), "keys that cannot be decoded stay")

	_, u = undecoded(t, elsewhere(plainEncode(t, map[interface{}]interface{}{"a": 1, "b": gobPoint{}}), "gobPoint"))
	require.Nil(t, u.Rest.Without(func(interface{}) bool { return true }))
}

// What is set under the key of a pair that is still there, as one whose key was not
// decoded, counts.
func TestJoinOfOneKey(t *testing.T) {
	_, u := undecoded(t, elsewhere(plainEncode(t, map[interface{}]interface{}{"a": 1, "b": gobPoint{}}), "gobPoint"))
	raw := joined(t, plainEncode(t, map[interface{}]interface{}{"b": "new"}), u.Rest)
	require.Equal(t, map[interface{}]interface{}{"b": "new"}, plainDecode(t, here(raw)))
}

func TestUndecodedError(t *testing.T) {
	const why = ` cannot be decoded: gob: name not registered for interface: `
	name := func(name string) string { return `"` + pkg + name + `"` }
	for want, data := range map[string]map[interface{}]interface{}{
		`the value of type ` + name("xobPoint") + ` under key "prefs"` + why + name("xobPoint"):                          {"prefs": gobPoint{}},
		`the value of type "[]interface {}" under key "5"` + why + name("xobString"):                                     {5: []interface{}{gobString("")}},
		`the value of type "int" under a key of type ` + name("xobString") + why + name("xobString"):                     {gobString("x"): 1},
		`the value of type ` + name("xobTags") + ` under key "` + strings.Repeat("k", 100) + `"` + why + name("xobTags"): {strings.Repeat("k", 5000): gobTags{}},
	} {
		data["fine"] = 1
		_, u := undecoded(t, elsewhere(plainEncode(t, data), restNames...))
		require.Equal(t, want, u.Error())
	}
	_, u := undecoded(t, elsewhere(plainEncode(t, map[interface{}]interface{}{"fine": 1, "a": gobTags{}, "b": gobTags{}, "c": gobTags{}}), "gobTags"))
	require.Contains(t, u.Error(), `" (and 2 more) cannot be decoded: `)

	_, u = undecoded(t, join(gobMapDef(64, 8, 8), gobPart(gobInt(64), []byte{0, 2},
		gobValue("string", 6, []byte{0}, gobText("fine")), []byte{0}, gobValue("unknown", 6, []byte{0}, gobText("x")), []byte{0})))
	require.Equal(t, `the value under a key of type "unknown" cannot be decoded: gob: name not registered for interface: "unknown"`, u.Error())
}

// A field whose type has changed, an element that no longer fits, a key that is none:
// it is not only names that keep a value from being decoded.
func TestRestOfChangedTypes(t *testing.T) {
	for what, raw := range map[string][]byte{
		"another field":   bytes.ReplaceAll(plainEncode(t, map[interface{}]interface{}{"user": 7, "v": gobOne{Name: "x"}}), []byte("gobOne"), []byte("gobNot")),
		"another kind":    bytes.ReplaceAll(plainEncode(t, map[interface{}]interface{}{"user": 7, "v": gobTags{"x"}}), []byte("gobTags"), []byte("gobSelf")),
		"out of range":    gobPair(gobValue("int8", 2, []byte{0}, gobInt(1000))),
		"no time":         gobPair(gobValue("time.Time", 65, []byte{0}, gobText("x")), gobDef(gobEncoderKind, 65)),
		"unhashable":      gobPair(gobValue("map[interface {}]interface {}", 64, []byte{0, 1}, gobValue("key-that-not", 65, []byte{0}), []byte{0}), gobStructDef(65, gobField("A", 2))),
		"too much":        gobPair(gobValue("[]gobmap_test.gobPoint", 65, []byte{0}, gobUint(600_000), make([]byte, 600_000)), gobSliceDef(65, 66), gobStructDef(66, gobField("X", 2))),
		"another package": gobPair(gobValue("main.Prefs", 65, []byte{1, 2, 0}), gobStructDef(65, gobField("X", 2))),
	} {
		m, u := undecoded(t, raw)
		require.Equal(t, map[interface{}]interface{}{"user": 7}, m, what)
		require.True(t, u.Rest.Has("v"), what)
		m, u = undecoded(t, joined(t, plainEncode(t, map[interface{}]interface{}{"new": gobPoint{1, 2}}), u.Rest))
		require.Equal(t, map[interface{}]interface{}{"new": gobPoint{1, 2}}, m, what)
		require.True(t, u.Rest.Has("v"), what)
	}
}

// gobPair is a message with a user and a value under the key "v".
func gobPair(val []byte, defs ...[]byte) []byte {
	key := func(s string) []byte { return gobValue("string", 6, []byte{0}, gobText(s)) }
	return join(gobMapDef(64, 8, 8), join(defs...),
		gobPart(gobInt(64), []byte{0, 2}, key("v"), val, key("user"), gobValue("int", 2, []byte{0}, gobInt(7))))
}

// Gob cannot skip an interface in which a type is defined, since the length in front of it
// ends there. A process that lacks the field sees the value all the same, and the others.
func TestRestOfASkippedInterface(t *testing.T) {
	data := map[interface{}]interface{}{"user": 7, "one": gobOne{Any: []interface{}{gobTags{"x"}, 1}, Last: map[string]int{"a": 1}}}
	raw := bytes.ReplaceAll(plainEncode(t, data), []byte("gobmap_test.gobOne"), []byte("gobmap_test.gobDee"))
	_, err := tryPlainDecode(raw)
	require.Error(t, err, "if gob can do it, this test is of no use")
	m, err := gobmap.Decode(raw)
	require.NoError(t, err)
	require.Equal(t, map[interface{}]interface{}{"user": 7, "one": gobDee{Last: map[string]int{"a": 1}}}, m)
}

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
		start := time.Now()
		_, _ = decode(raw)
		before := time.Since(start)
		var err error
		var m map[interface{}]interface{}
		start = time.Now()
		n := allocated(func() { m, err = gobmap.Decode(raw) })
		took := time.Since(start)
		t.Logf("%-28s %8d bytes take %9d in %v, before %v: %.200v", name, len(raw), n, took.Round(time.Microsecond), before.Round(time.Microsecond), err)
		require.LessOrEqual(t, n, uint64(maxSalvaged), name)
		require.Less(t, took, maxTime, name)
		if !strings.HasPrefix(name, "hostile") {
			require.NotEmpty(t, m, name)
		}
	}
}
