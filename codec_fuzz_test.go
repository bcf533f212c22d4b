package session_test

import (
	"bytes"
	"encoding/gob"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net/url"
	"reflect"
	"runtime/metrics"
	"strings"
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

// checkScan checks that what is said to be readable without reading it is so, to
// have the key that it has, and that values are the same when they are read alone.
func checkScan(t *testing.T, raw []byte) {
	t.Helper()
	data, readable := gobmap.Read(raw)
	for _, key := range []string{"key", "user_id", "flamego::session::flash"} {
		var ix gobmap.Index
		has, ok := gobmap.Scan(raw, key, &ix)
		if ok != readable {
			t.Fatalf("readable %v, but a scan says %v", readable, ok)
		}
		if !ok {
			return
		}
		if _, found := data[key]; found != has {
			t.Fatalf("key %q there: %v, but a scan says %v", key, found, has)
		}
		checkIndex(t, raw, &ix, data, key)
		for key := range data {
			if key, ok := key.(string); ok {
				checkIndex(t, raw, &ix, data, key)
			}
		}
	}
}

// checkIndex checks one value that is read alone, if it can be.
func checkIndex(t *testing.T, raw []byte, ix *gobmap.Index, data map[interface{}]interface{}, key string) {
	t.Helper()
	got, ok := ix.Get(raw, key)
	if want := data[key]; ok && fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) { // NaN is not equal to itself
		t.Fatalf("key %q: %#v when it is read alone, %#v with the others", key, got, want)
	}
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
	checkScan(t, raw)
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

// A builder makes values of bytes.
type builder struct{ src []byte }

func (b *builder) next() byte {
	if len(b.src) == 0 {
		return 0
	}
	c := b.src[0]
	b.src = b.src[1:]
	return c
}

func (b *builder) num() (u uint64) {
	for range b.next() % 9 {
		u = u<<8 | uint64(b.next())
	}
	return u
}

func (b *builder) text() string {
	n := min(int(b.next())%40, len(b.src))
	s := string(b.src[:n])
	b.src = b.src[n:]
	return s
}

func (b *builder) float() float64 {
	f := math.Float64frombits(b.num())
	switch b.next() % 8 {
	case 0:
		return math.Copysign(0, -1)
	case 1:
		return math.NaN()
	case 2:
		return float64(int8(b.next()))
	}
	return f
}

func (b *builder) time() time.Time {
	zone := time.UTC
	if n := int16(b.num()); n%3 != 0 {
		zone = time.FixedZone("", int(n))
	}
	return time.Unix(int64(b.num()>>20), int64(b.next())).In(zone)
}

// basic returns a value that can also be a key.
func (b *builder) basic() interface{} {
	switch b.next() % 20 {
	case 0:
		return b.next()%2 == 0
	case 1:
		return int(b.num())
	case 2:
		return int8(b.num())
	case 3:
		return int16(b.num())
	case 4:
		return int32(b.num())
	case 5:
		return int64(b.num())
	case 6:
		return uint(b.num())
	case 7:
		return uint8(b.num())
	case 8:
		return uint16(b.num())
	case 9:
		return uint32(b.num())
	case 10:
		return b.num()
	case 11:
		return uintptr(b.num())
	case 12:
		return float32(b.float())
	case 13:
		return b.float()
	case 14:
		return complex64(complex(float32(b.float()), float32(b.float())))
	case 15:
		return complex(b.float(), b.float())
	case 16:
		return time.Duration(b.num())
	case 17:
		return b.time()
	default:
		return b.text()
	}
}

func (b *builder) key() interface{} {
	key := b.basic()
	if b.next()%16 == 0 {
		key = gobString(b.text())
	}
	if key != key { // a NaN is not equal to itself, nor found again
		return "NaN"
	}
	return key
}

func (b *builder) value(depth int) interface{} {
	if depth > 5 {
		return b.basic()
	}
	n := int(b.next()) % 5
	switch kind := b.next() % 24; kind {
	case 0:
		return nil
	case 1:
		return []byte(b.text())
	case 2:
		return strings.Split(b.text(), "a")
	case 3:
		list := make([]interface{}, n)
		for i := range list {
			list[i] = b.value(depth + 1)
		}
		return list
	case 4:
		m := make(map[string]interface{})
		for range n {
			m[b.text()] = b.value(depth + 1)
		}
		return m
	case 5:
		m := make(map[interface{}]interface{})
		for range n {
			m[b.key()] = b.value(depth + 1)
		}
		return m
	case 6:
		return map[string]string{b.text(): b.text(), "": b.text()}
	case 7:
		return map[string]bool{b.text(): n == 1}
	case 8:
		return map[string]int{b.text(): int(b.num())}
	case 9:
		return map[string][]string{b.text(): {b.text(), ""}, "x": nil}
	case 10:
		return []interface{}{[]string(nil), []byte(nil), map[string]string(nil), map[string]interface{}(nil), []interface{}(nil)}[n]
	case 11, 12, 13:
		// A list of the type of some basic value.
		first := b.basic()
		list := reflect.MakeSlice(reflect.SliceOf(reflect.TypeOf(first)), 0, n)
		if _, ok := first.(time.Duration); ok {
			return []time.Duration(nil) == nil
		}
		for range n {
			if v := b.basic(); reflect.TypeOf(v) == reflect.TypeOf(first) {
				list = reflect.Append(list, reflect.ValueOf(v))
			}
		}
		return reflect.Append(list, reflect.ValueOf(first)).Interface()
	case 14:
		if b.next()%4 != 0 {
			return b.basic()
		}
		return gobOne{Name: b.text(), Any: b.value(depth + 1), List: []interface{}{b.value(depth + 1)}, Points: map[gobPoint]gobPoint{{n, 1}: {}}}
	case 15:
		return []interface{}{gobString(b.text()), gobTags{b.text()}, gobPoint{n, int(b.num())}, &gobNode{Val: b.value(depth + 1)}, gobBytes(b.text())}[n]
	default:
		return b.basic()
	}
}

// same is reflect.DeepEqual, but it tells NaN from other numbers and -0 from 0.
func same(a, b interface{}) bool {
	return sameValue(reflect.ValueOf(a), reflect.ValueOf(b))
}

func sameValue(a, b reflect.Value) bool {
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() {
		return false
	}
	switch a.Kind() {
	case reflect.Float32, reflect.Float64:
		return math.Float64bits(a.Float()) == math.Float64bits(b.Float())
	case reflect.Complex64, reflect.Complex128:
		x, y := a.Complex(), b.Complex()
		return sameValue(reflect.ValueOf(real(x)), reflect.ValueOf(real(y))) && sameValue(reflect.ValueOf(imag(x)), reflect.ValueOf(imag(y)))
	case reflect.Interface, reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return sameValue(a.Elem(), b.Elem())
	case reflect.Slice:
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !sameValue(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for _, key := range a.MapKeys() {
			if v := b.MapIndex(key); v.IsValid() {
				if !sameValue(a.MapIndex(key), v) {
					return false
				}
			} else if key.Equal(key) {
				// A NaN, also inside of a struct, is not found again. A time in a
				// zone is found by the pointer to the zone: gob makes a new one.
				if _, ok := key.Interface().(time.Time); !ok {
					return false
				}
			}
		}
		return true
	case reflect.Struct:
		if a, ok := a.Interface().(time.Time); ok {
			return reflect.DeepEqual(a, b.Interface())
		}
		for i := range a.NumField() {
			if a.Type().Field(i).IsExported() && !sameValue(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	default:
		return reflect.DeepEqual(a.Interface(), b.Interface())
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
		name, id = "[]session_test.gobPoint", 66
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
		if _, err := session.GobDecoder(raw); err == nil {
			decoded++
		} else if errors.Is(err, gobmap.ErrLimit) {
			refused++
		}
	}
	t.Logf("of %d messages %d could be decoded, %d were refused", *madeUp, decoded, refused)
}
