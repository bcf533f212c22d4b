package session_test

import (
	"bytes"
	"encoding/gob"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/gobmap"
)

var update = flag.Bool("update", false, "write the fixtures in testdata/gob anew")

type registered struct {
	Name string
	Tags []string
}

type point struct{ X, Y int }

func init() {
	gob.Register(registered{})
	gob.Register([]point{})
	// Plain gob, which the tests compare with, needs these.
	for _, val := range []interface{}{
		time.Time{}, time.Hour, []interface{}{}, map[string]interface{}{}, map[interface{}]interface{}{},
		map[string]string{}, map[string]bool{}, map[string]int{}, map[string][]string{},
	} {
		gob.Register(val)
	}
}

// fixtures is one session for each kind of value. The files in testdata/gob
// were written by plain encoding/gob, see writeFixtures.
var fixtures = map[string]map[interface{}]interface{}{
	"empty":       {},
	"bool":        {"a": true, "b": false},
	"ints":        {"int": -1, "int8": int8(math.MinInt8), "int16": int16(300), "int32": int32(math.MaxInt32), "int64": int64(math.MinInt64)},
	"uints":       {"uint": uint(1), "uint8": uint8(255), "uint16": uint16(300), "uint32": uint32(math.MaxUint32), "uint64": uint64(math.MaxUint64)},
	"floats":      {"float32": float32(1.5), "float64": math.Pi, "inf": math.Inf(-1)},
	"complex":     {"complex64": complex64(1 + 2i), "complex128": 3 + 4i},
	"strings":     {"a": "", "b": "héllo\x00\xff", "c": strings.Repeat("x", 5000)},
	"bytes":       {"a": []byte{0, 1, 255}, "b": []byte("text")},
	"slices":      {"strings": []string{"a", "", "b"}, "ints": []int{1, -2}, "int64s": []int64{3}, "floats": []float64{1.5}, "bools": []bool{true, false}},
	"time":        {"utc": time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC), "zone": time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)), "duration": time.Hour},
	"any":         {"list": []interface{}{1, "a", []interface{}{true}}, "map": map[string]interface{}{"a": 1, "b": map[string]interface{}{"c": "d"}}},
	"maps":        {"strings": map[string]string{"a": "b"}, "ints": map[string]int{"a": 1}, "bools": map[string]bool{"a": true}, "lists": map[string][]string{"a": {"b", "c"}}, "any": map[interface{}]interface{}{1: "a", "b": 2}},
	"keys":        {1: "int", "s": "string", true: "bool", 2.5: "float", int64(1): "int64"},
	"struct":      {"value": registered{Name: "n", Tags: []string{"a"}}},
	"typical":     {"user_id": 123, "name": "alice", "admin": false, "csrf": "0123456789abcdef", "visits": int64(42), "seen": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
	"flash":       {"flamego::session::flash": "saved", "user_id": 123},
	"largestring": {"blob": strings.Repeat("0123456789", 20_000)},
}

// plainEncode is what the library must be able to read: gob and nothing else.
func plainEncode(t testing.TB, data map[interface{}]interface{}) []byte {
	t.Helper()
	var buf bytes.Buffer
	require.NoError(t, gob.NewEncoder(&buf).Encode(data))
	return buf.Bytes()
}

// plainDecode must be able to read what the library writes.
func plainDecode(t testing.TB, raw []byte) map[interface{}]interface{} {
	t.Helper()
	data := make(map[interface{}]interface{})
	require.NoError(t, gob.NewDecoder(bytes.NewReader(raw)).Decode(&data))
	return data
}

func TestGobFixtures(t *testing.T) {
	dir := filepath.Join("testdata", "gob")
	if *update {
		require.NoError(t, os.MkdirAll(dir, 0o755))
		for name, data := range fixtures {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name+".gob"), plainEncode(t, data), 0o644))
		}
	}
	for name, data := range fixtures {
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join(dir, name+".gob"))
			require.NoError(t, err)

			got, err := session.GobDecoder(raw)
			require.NoError(t, err)
			requireSameData(t, data, got)

			ours, err := session.GobEncoder(session.Data(data))
			require.NoError(t, err)
			requireSameData(t, data, plainDecode(t, ours))
		})
	}
}

func requireSameData(t testing.TB, want, got map[interface{}]interface{}) {
	t.Helper()
	require.Len(t, got, len(want))
	for key, val := range want {
		if at, ok := val.(time.Time); ok {
			require.IsType(t, at, got[key])
			require.True(t, at.Equal(got[key].(time.Time)), "key %v: %v is not %v", key, got[key], at)
			continue
		}
		require.Truef(t, reflect.DeepEqual(val, got[key]), "key %v: %#v is not %#v", key, got[key], val)
	}
}

// A map of the named type Data and a plain one are the same to gob, in both
// directions.
func TestGobOfNamedType(t *testing.T) {
	var buf bytes.Buffer
	require.NoError(t, gob.NewEncoder(&buf).Encode(session.Data{"a": 1}))
	requireSameData(t, map[interface{}]interface{}{"a": 1}, plainDecode(t, buf.Bytes()))
	got, err := session.GobDecoder(plainEncode(t, map[interface{}]interface{}{"a": 1}))
	require.NoError(t, err)
	require.Equal(t, session.Data{"a": 1}, got)
}

// What comes back is of the type that is registered, a pointer or not.
func TestGobOfPointers(t *testing.T) {
	type byPointer struct{ N int }
	gob.Register(&byPointer{})
	raw, err := session.GobEncoder(session.Data{"a": &registered{Name: "n"}, "b": byPointer{1}, "c": &byPointer{2}})
	require.NoError(t, err)
	got, err := session.GobDecoder(raw)
	require.NoError(t, err)
	require.Equal(t, session.Data{"a": registered{Name: "n"}, "b": &byPointer{1}, "c": &byPointer{2}}, got)
}

// GobDecoder returns what it can decode, and an error.
func TestGobDecoderInPart(t *testing.T) {
	raw := elsewhere(t, session.Data{"user": 7, "prefs": dark})
	got, err := session.GobDecoder(raw)
	require.EqualError(t, err, undecoded)
	require.Equal(t, session.Data{"user": 7}, got)
}

func TestGobEncoderNil(t *testing.T) {
	for _, data := range []session.Data{nil, {}, {"gone": nil}, {"gone": nil, "a": 1}} {
		raw, err := session.GobEncoder(data)
		require.NoError(t, err)
		got, err := session.GobDecoder(raw)
		require.NoError(t, err)
		for key, val := range data {
			require.Equal(t, val, got[key])
		}
		require.NotContains(t, got, "gone")
	}
	data := session.Data{"gone": nil}
	_, err := session.GobEncoder(data)
	require.NoError(t, err)
	require.Contains(t, data, "gone", "the encoder changed the data it was given")
}

func TestGobEncoderNamesTheCulprit(t *testing.T) {
	type local struct{ N int }
	for _, tt := range []struct {
		val  interface{}
		want string
	}{
		{local{1}, "session_test.local"},
		{func() {}, "func()"},
		{make(chan int), "chan int"},
		{(*registered)(nil), "*session_test.registered"},
	} {
		_, err := session.GobEncoder(session.Data{"fine": 1, "culprit": tt.val, "fine too": "x"})
		require.Error(t, err)
		require.Contains(t, err.Error(), `"culprit"`)
		require.Contains(t, err.Error(), tt.want)
	}
}

// nested is a list in a list and so on, with val in the innermost.
func nested(levels int, val interface{}) interface{} {
	for range levels {
		val = []interface{}{val}
	}
	return val
}

// What the decoder would refuse is refused when it can still be told.
func TestGobEncoderLimits(t *testing.T) {
	itself := map[string]interface{}{}
	itself["again"] = []interface{}{itself, registered{}}
	times := make([]interface{}, 60_000)
	for i := range times {
		times[i] = time.Time{}
	}
	for what, val := range map[string]interface{}{
		"deep":                 nested(1000, 1),
		"deep and registered":  nested(1001, registered{}),
		"itself":               itself,
		"large":                times,
		"large and registered": make([]point, 900_000),
	} {
		_, err := session.GobEncoder(session.Data{"fine": 1, "culprit": val, "fine too": registered{}})
		require.ErrorIs(t, err, gobmap.ErrLimit, what)
		require.ErrorContains(t, err, `"culprit"`, what)
	}
	for what, val := range map[string]interface{}{
		"deep":                 nested(999, 1),
		"deep and registered":  nested(999, registered{}),
		"large":                make([]string, 300_000),
		"large and registered": append(make([]point, 30_000), point{1, 2}),
		"larger":               []string{strings.Repeat("x", 5<<20)},
	} {
		t.Run(what, func(t *testing.T) {
			for _, data := range []session.Data{{"fine": val, "fine too": registered{}}, {"fine": val}} {
				raw, err := session.GobEncoder(data)
				require.NoError(t, err)
				requireSameData(t, data, plainDecode(t, raw))
				got, err := session.GobDecoder(raw)
				require.NoError(t, err)
				requireSameData(t, data, got)
			}
		})
	}
}

// A session of six small values costs few allocations. The race detector does
// not change their number.
func TestGobAllocations(t *testing.T) {
	data := session.Data(fixtures["typical"])
	raw, err := session.GobEncoder(data)
	require.NoError(t, err)
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _, err = session.GobEncoder(data) }), 5.0)
	require.NoError(t, err)
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { data, err = session.GobDecoder(raw) }), 40.0)
	require.NoError(t, err)
	requireSameData(t, fixtures["typical"], data)
}

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

// What is no gob of a map is an error, whatever it is, and takes no more memory
// than its size warrants.
func TestGobDecoderRefuses(t *testing.T) {
	type unregisteredElsewhere struct{ A string }
	typical := plainEncode(t, fixtures["typical"])
	cases := map[string][]byte{
		"nothing":       {},
		"json":          []byte(`{"user_id": 123}`),
		"text":          []byte("not a gob"),
		"other gob":     gobOf(t, 42),
		"a struct":      gobOf(t, unregisteredElsewhere{"x"}),
		"string map":    gobOf(t, map[string]int{"a": 1}),
		"zeros":         make([]byte, 100),
		"unknown type":  bytes.ReplaceAll(plainEncode(t, map[interface{}]interface{}{"v": registered{}}), []byte("registered"), []byte("reGistered")),
		"unhashable":    unhashableKey(t),
		"huge map":      hugeMap(t),
		"huge envelope": append([]byte{0xf8, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, typical...),
	}
	for i := range typical {
		cases[fmt.Sprintf("cut at %d", i)] = typical[:i]
	}
	for name, raw := range cases {
		data, err := session.GobDecoder(raw)
		require.Error(t, err, name)
		require.Nil(t, data, name)
	}
}

// The session of six small values through our codec and through plain gob.

func BenchmarkEncode(b *testing.B) {
	data := session.Data(fixtures["typical"])
	for name, encode := range map[string]session.Encoder{
		"ours": session.GobEncoder,
		"gob": func(data session.Data) ([]byte, error) {
			var buf bytes.Buffer
			err := gob.NewEncoder(&buf).Encode(data)
			return buf.Bytes(), err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var raw []byte
			for b.Loop() {
				var err error
				if raw, err = encode(data); err != nil {
					b.Fatal(err)
				}
			}
			requireSameData(b, data, plainDecode(b, raw))
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	raw := plainEncode(b, fixtures["typical"])
	for name, decode := range map[string]session.Decoder{
		"ours": session.GobDecoder,
		"gob": func(raw []byte) (session.Data, error) {
			data := make(session.Data)
			err := gob.NewDecoder(bytes.NewReader(raw)).Decode(&data)
			return data, err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var data session.Data
			for b.Loop() {
				var err error
				if data, err = decode(raw); err != nil {
					b.Fatal(err)
				}
			}
			requireSameData(b, fixtures["typical"], data)
		})
	}
}
