package session_test

import (
	"bytes"
	"encoding/gob"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net/url"
	"reflect"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/gobmap"
)

var madeUp = flag.Int("made-up", 1000, "the number of messages of types made up")

// Types as an app may register them. Those with names of six letters have some of
// the fields of gobOne: with such a name in its place, a message of that type has
// fields that are skipped.
type (
	gobString string
	gobBytes  []byte
	gobTags   []string
	gobNumber float32
	gobSelf   []gobSelf
	gobArray  [3]gobPoint
	gobPoint  struct{ X, Y int }
	gobNode   struct {
		Next *gobNode
		Val  interface{}
	}
	gobOne struct {
		Name   string
		Any    interface{}
		List   []interface{}
		Points map[gobPoint]gobPoint
		At     time.Time
		Big    *big.Int
		Deep   [][]map[string][2]complex64
		Last   map[string]int
	}
	gobTwo struct {
		Name   string
		Other  *gobOne
		Points map[gobPoint]gobPoint
		Last   map[string]int
		hidden int
	}
	gobAny struct {
		Any  interface{}
		Last map[string]int
	}
	gobLst struct {
		List []interface{}
		Last map[string]int
	}
	gobPts struct {
		Points map[gobPoint]struct{ Y int }
		Last   map[string]int
	}
	gobDee struct {
		Deep [][]map[string][2]complex64
		At   time.Time
		Last map[string]int
	}
	gobBig struct {
		Name string
		Big  *big.Int
		Last map[string]int
	}
	gobNot struct {
		Name int
		Last map[string]int
	}
)

var sixLetters = []string{"gobOne", "gobTwo", "gobAny", "gobLst", "gobPts", "gobDee", "gobBig", "gobNot"}

func init() {
	for _, val := range []interface{}{
		gobString(""), gobBytes{}, gobTags{}, gobNumber(0), gobSelf{}, gobArray{}, gobPoint{}, &gobNode{}, gobOne{}, gobTwo{},
		gobAny{}, gobLst{}, gobPts{}, gobDee{}, gobBig{}, gobNot{},
		[]gobPoint{}, []*gobNode{}, map[gobPoint]gobOne{}, []time.Time{}, [2]string{}, &big.Int{}, &url.URL{}, []*int{},
		map[string]*gobTwo{}, [][]byte{}, map[int]bool{}, struct{}{},
	} {
		gob.Register(val)
	}
}

// registeredValues need encoding/gob.
func registeredValues() map[interface{}]interface{} {
	one := gobOne{
		Name: "one", Any: map[string]interface{}{"a": []string{"b"}, "n": nil}, List: []interface{}{nil, 1, gobString("x"), gobTags{"t"}},
		Points: map[gobPoint]gobPoint{{1, 2}: {3, 4}}, At: time.Unix(1, 2).In(time.FixedZone("", 3600)), Big: big.NewInt(1 << 40),
		Deep: [][]map[string][2]complex64{{{"x": {1, 2}}}, nil}, Last: map[string]int{"a": 1},
	}
	n := 7
	return map[interface{}]interface{}{
		"string": gobString("s"), "bytes": gobBytes("b"), "tags": gobTags{"a", ""}, "number": gobNumber(1.5),
		"self": gobSelf{nil, {nil, {}}}, "array": gobArray{{1, 2}}, "point": gobPoint{}, "node": &gobNode{Next: &gobNode{Val: gobPoint{5, 6}}},
		"one": one, "two": gobTwo{Name: "two", Other: &one, Last: map[string]int{"b": 2}, hidden: 1},
		"points": []gobPoint{{}, {1, 0}}, "nodes": []*gobNode{{}, {Val: 1}}, "map": map[gobPoint]gobOne{{1, 1}: {Name: "in"}},
		"times": []time.Time{time.Unix(9, 9).UTC()}, "pair": [2]string{"a", ""}, "big": big.NewInt(-5), "url": &url.URL{Host: "h", Path: "/p"},
		"ints": []*int{&n}, "twos": map[string]*gobTwo{"k": {Name: "x"}}, "blobs": [][]byte{{1}, nil}, "nums": map[int]bool{-1: true},
		gobPoint{1, 2}: "key", gobString("k"): "named key", "plain": map[string]interface{}{"x": gobPoint{1, 1}},
	}
}

func messages(t testing.TB) map[string][]byte {
	all := make(map[string][]byte)
	for name, data := range fixtures {
		if name != "largestring" {
			all[name] = plainEncode(t, data)
		}
	}
	for key, val := range registeredValues() {
		name := fmt.Sprintf("registered %v", key)
		all[name] = plainEncode(t, map[interface{}]interface{}{key: val, "after": 1})
		for _, from := range sixLetters[:2] {
			for _, to := range sixLetters {
				if other := bytes.ReplaceAll(all[name], []byte(from), []byte(to)); !bytes.Equal(other, all[name]) {
					all[name+" as "+to] = other
				}
			}
		}
	}
	one, _ := registeredValues()["one"].(gobOne)
	for i := range 8 {
		var part gobOne
		reflect.ValueOf(&part).Elem().Field(i).Set(reflect.ValueOf(one).Field(i))
		part.Last = one.Last
		for _, to := range sixLetters {
			raw := plainEncode(t, map[interface{}]interface{}{"one": part})
			all[fmt.Sprint("field ", i, " as ", to)] = bytes.ReplaceAll(raw, []byte("gobOne"), []byte(to))
		}
	}
	for name, raw := range hostile() {
		if len(raw) < 1000 {
			all[name] = raw
		}
	}
	return all
}

// allocated returns how many bytes of heap f takes, more or less.
func allocated(f func()) uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	f()
	metrics.Read(sample)
	return sample[0].Value.Uint64() - before
}

// What bytes up to 1 MiB may take.
const (
	maxAllocated = 16 << 20
	maxTime      = 5 * time.Second
)

func FuzzDecode(f *testing.F) {
	for _, raw := range messages(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		checkDecode(t, raw)
	})
}

// checkDecode checks that the decoder is safe for raw and agrees with plain gob,
// but for what is documented as beyond the limits.
func checkDecode(t *testing.T, raw []byte) {
	t.Helper()
	var got session.Data
	var err error
	start := time.Now()
	if n := allocated(func() { got, err = session.GobDecoder(raw) }); len(raw) <= 1<<20 && n > maxAllocated {
		t.Fatalf("%d bytes take %d bytes of memory", len(raw), n)
	}
	if took := time.Since(start); took > maxTime {
		t.Fatalf("%d bytes take %v", len(raw), took)
	}
	if err != nil && got != nil {
		t.Fatal("data beside an error")
	}
	if errors.Is(err, gobmap.ErrLimit) {
		return // plain gob might not survive it
	}
	want, plainErr := tryPlainDecode(raw)
	if (err == nil) != (plainErr == nil) {
		t.Fatalf("ours says %v, gob %v", err, plainErr)
	}
	if err == nil && !same(want, map[interface{}]interface{}(got)) {
		t.Fatalf("got %#.2000v, want %#.2000v", got, want)
	}
}

func tryPlainDecode(raw []byte) (data map[interface{}]interface{}, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	data = make(map[interface{}]interface{})
	err = gob.NewDecoder(bytes.NewReader(raw)).Decode(&data)
	return data, err
}

func FuzzRoundTrip(f *testing.F) {
	for i := range 40 {
		f.Add(bytes.Repeat([]byte{byte(i), 3, byte(i + 7), 1, 200, 'a', byte(i * 5)}, i+1))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		b := builder{src: src}
		data := make(map[interface{}]interface{})
		for range b.next() % 8 {
			if val := b.value(0); val != nil {
				data[b.key()] = val
			}
		}
		checkRoundTrip(t, data)
	})
}

func checkRoundTrip(t *testing.T, data map[interface{}]interface{}) {
	t.Helper()
	ours, err := session.GobEncoder(data)
	if err != nil {
		t.Fatalf("encode %#.2000v: %v", data, err)
	}
	plain := plainEncode(t, data)
	want := plainDecode(t, plain)
	for name, raw := range map[string][]byte{"ours": ours, "plain": plain} {
		got, err := session.GobDecoder(raw)
		if err != nil || !same(want, map[interface{}]interface{}(got)) {
			t.Fatalf("%s by ours: got %#.2000v, %v, want %#.2000v", name, got, err, want)
		}
	}
	if got := plainDecode(t, ours); !same(want, got) {
		t.Fatalf("ours by gob: got %#.2000v, want %#.2000v", got, want)
	}
	if len(ours) > len(plain)+len(plain)/8+32 {
		t.Fatalf("ours takes %d bytes, gob %d", len(ours), len(plain))
	}
}

// All values of the fixtures and of registered types in one message, whole and
// cut, through both decoders.
func TestGobAgrees(t *testing.T) {
	all := registeredValues()
	for name, data := range fixtures {
		checkRoundTrip(t, data)
		if name != "largestring" {
			for key, val := range data {
				all[fmt.Sprint(name, key)] = val
			}
		}
	}
	checkRoundTrip(t, all)
	for key, val := range registeredValues() {
		checkRoundTrip(t, map[interface{}]interface{}{key: val})
	}
	for name, raw := range messages(t) {
		t.Run(name, func(t *testing.T) {
			checkDecode(t, raw)
			checkDecode(t, append(bytes.Clone(raw), "rest"...))
			step := 1 + len(raw)/25 // FuzzDecode goes on from there
			for i := 0; i < len(raw); i += step {
				checkDecode(t, raw[:i])
				for _, b := range []byte{0, 1, 0x80, 0xff, raw[i] + 1, raw[i] - 1} {
					other := bytes.Clone(raw)
					other[i] = b
					checkDecode(t, other)
				}
			}
		})
	}
}
