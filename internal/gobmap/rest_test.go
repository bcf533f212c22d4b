package gobmap_test

import (
	"bytes"
	"strings"
	"testing"

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
	data = plainDecode(t, plainEncode(t, data))
	if raw, err := tryPlainEncode(data); err != nil || !same(data, plainDecode(t, raw)) {
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
