package gobmap_test

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/gobmap"
)

// encode and decode are Write and Read, and package gob for what those leave to it.

func encode(data map[interface{}]interface{}) ([]byte, error) {
	raw, err := gobmap.Write(data)
	if errors.Is(err, gobmap.ErrOther) {
		raw, err = tryPlainEncode(data)
	}
	if err == nil {
		err = gobmap.Readable(raw)
	}
	return raw, err
}

func decode(raw []byte) (map[interface{}]interface{}, error) {
	if data, ok := gobmap.Read(raw); ok {
		return data, nil
	}
	if err := gobmap.Check(raw); err != nil {
		return nil, err
	}
	data, err := tryPlainDecode(raw)
	if err != nil {
		return nil, err
	}
	return data, nil
}

func tryPlainEncode(data map[interface{}]interface{}) ([]byte, error) {
	var buf bytes.Buffer
	err := gob.NewEncoder(&buf).Encode(data)
	return buf.Bytes(), err
}

func plainEncode(t testing.TB, data map[interface{}]interface{}) []byte {
	t.Helper()
	raw, err := tryPlainEncode(data)
	require.NoError(t, err)
	return raw
}

func plainDecode(t testing.TB, raw []byte) map[interface{}]interface{} {
	t.Helper()
	data, err := tryPlainDecode(raw)
	require.NoError(t, err)
	return data
}

// registered is a type of the fixtures.
type registered struct {
	Name string
	Tags []string
}

func init() { gob.RegisterName("github.com/flamego/session_test.registered", registered{}) }

// fixtures are those of the root package: one session for each kind of value.
func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("../../testdata/gob/*.gob")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	all := make(map[string][]byte)
	for _, name := range names {
		raw, err := os.ReadFile(name)
		require.NoError(t, err)
		all[strings.TrimSuffix(filepath.Base(name), ".gob")] = raw
	}
	return all
}

func messages(t testing.TB) map[string][]byte {
	all := make(map[string][]byte)
	for name, raw := range fixtures(t) {
		if name != "largestring" {
			all[name] = raw
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
	var got map[interface{}]interface{}
	var err error
	start := time.Now()
	if n := allocated(func() { got, err = decode(raw) }); len(raw) <= 1<<20 && n > maxAllocated {
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
	if strconv.IntSize == 32 && err != nil {
		return // gob cuts a length off at 32 bits, and may decode what is left
	}
	if (err == nil) != (plainErr == nil) {
		t.Fatalf("ours says %v, gob %v", err, plainErr)
	}
	if err == nil && !same(want, got) {
		t.Fatalf("got %#.2000v, want %#.2000v", got, want)
	}
	if err == nil { // once more, with what is prepared
		if again, err := decode(raw); err != nil || !same(want, again) {
			t.Fatalf("the second time: got %#.2000v, %v, want %#.2000v", again, err, want)
		}
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
	ours, err := encode(data)
	if err != nil {
		t.Fatalf("encode %#.2000v: %v", data, err)
	}
	plain := plainEncode(t, data)
	want := plainDecode(t, plain)
	for name, raw := range map[string][]byte{"ours": ours, "plain": plain} {
		got, err := decode(raw)
		if err != nil || !same(want, got) {
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
	for name, raw := range fixtures(t) {
		data := plainDecode(t, raw)
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
