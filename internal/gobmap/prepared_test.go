package gobmap_test

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/gobmap"
)

type (
	member struct {
		ID     int
		Name   string
		Since  time.Time
		Roles  []string
		Prefs  map[string]string
		Parent *member
	}
	// cart holds values in interfaces, whose types are defined inside of its own value.
	cart struct{ Items []interface{} }
	item struct {
		SKU string
		N   int
	}
	// keeper keeps the bytes that it is given, which package gob does not forbid.
	keeper struct{ raw []byte }
)

func (k keeper) GobEncode() ([]byte, error) { return k.raw, nil }

func (k *keeper) GobDecode(raw []byte) error {
	k.raw = raw
	return nil
}

func init() {
	for _, val := range []interface{}{member{}, cart{}, item{}, keeper{}} {
		gob.Register(val)
	}
}

func aMember(n int) member {
	return member{
		ID: n, Name: fmt.Sprint("name", n), Since: time.Unix(int64(n), 0).UTC(), Roles: []string{"a", fmt.Sprint(n)},
		Prefs: map[string]string{"k": fmt.Sprint(n)}, Parent: &member{ID: n + 1},
	}
}

func encoded(t testing.TB, m map[interface{}]interface{}) []byte {
	t.Helper()
	raw, err := gobmap.Encode(m)
	require.NoError(t, err)
	return raw
}

// Once the types have been seen, a message takes no more than its values and a look at it.
func TestTypesArePreparedOnce(t *testing.T) {
	raw := encoded(t, map[interface{}]interface{}{"member": aMember(1), "seen": time.Unix(5, 0).UTC(), "n": 7})
	plain := testing.AllocsPerRun(1, func() { plainDecode(t, raw) })
	ours := plain
	for range 20 { // the garbage collector may take the decoder
		ours = min(ours, testing.AllocsPerRun(1, func() {
			if _, err := gobmap.Decode(raw); err != nil {
				t.Error(err)
			}
		}))
	}
	if ours > plain/2 {
		t.Errorf("decoding takes %v allocations, with gob alone %v", ours, plain)
	}
}

// Gob writes the pairs of a map in random order. That makes no other definitions.
func TestOrderMakesNoDefinitions(t *testing.T) {
	values := map[interface{}]interface{}{
		"member": aMember(1), "cart": cart{[]interface{}{item{"a", 1}}}, "item": item{"b", 2}, "keeper": keeper{[]byte("c")},
		"seen": time.Unix(5, 0).UTC(), "n": 7, "s": "text",
	}
	checkDecode(t, encoded(t, values))
	before := gobmap.Definitions()
	for range 100 {
		checkDecode(t, encoded(t, values))
	}
	require.Equal(t, before, gobmap.Definitions())
}

// Sessions of many visitors and many sets of types, one after the other and in parallel: each is
// what gob makes of it, and stays so.
func TestPreparedDecodersShareNothing(t *testing.T) {
	var raws [][]byte
	var want []map[interface{}]interface{}
	for n := range 300 {
		m := map[interface{}]interface{}{"member": aMember(n)}
		switch n % 4 {
		case 1:
			m["cart"] = cart{[]interface{}{item{fmt.Sprint("sku", n), n}, n, "text", aMember(n)}}
		case 2:
			m["item"] = item{strings.Repeat("x", n), n}
			m["bytes"] = []byte(fmt.Sprint("bytes", n))
		case 3:
			m["keeper"] = keeper{[]byte(fmt.Sprint("kept", n))}
		}
		raw := encoded(t, m)
		raws, want = append(raws, raw), append(want, plainDecode(t, raw))
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			got := make([]map[interface{}]interface{}, len(raws))
			for i := range raws {
				at := (i*7 + w) % len(raws)
				m, err := gobmap.Decode(bytes.Clone(raws[at]))
				if err != nil {
					t.Errorf("%d: %v", at, err)
				}
				got[at] = m
			}
			for i := range got {
				if !same(want[i], got[i]) {
					t.Errorf("%d: got %#v, want %#v", i, got[i], want[i])
				}
			}
		})
	}
	wg.Wait()
}

// A value that keeps the bytes that it was decoded from keeps them, also beside one that cannot
// be decoded.
func TestDecodedValuesKeepTheirBytes(t *testing.T) {
	m := map[interface{}]interface{}{"point": gobPoint{1, 2}}
	for n := range 8 {
		m[n] = keeper{[]byte(fmt.Sprint("kept", n))}
	}
	got, _ := undecoded(t, elsewhere(plainEncode(t, m), "gobPoint"))
	for n := range 8 {
		require.Equal(t, m[n], got[n])
	}
}

// There are more sets of types than decoders are kept for, and the same bytes mean something else
// with each.
func TestManyDefinitions(t *testing.T) {
	for range 2 {
		for n := range 200 {
			sku, other := gobField("SKU", 6), gobField(fmt.Sprint("F", n), 6)
			want := item{SKU: "a"}
			if n%2 == 1 {
				sku, other = other, sku
				want = item{}
			}
			raw := gobMessage(gobValue(pkg+"item", 65, []byte{1}, gobText("a"), []byte{0}), gobStructDef(65, sku, other))
			checkDecode(t, raw)
			m, err := gobmap.Decode(raw)
			require.NoError(t, err)
			require.Equal(t, want, m["k"])
		}
	}
}

func BenchmarkDecodeStruct(b *testing.B) {
	raw := encoded(b, map[interface{}]interface{}{"member": aMember(1)})
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := gobmap.Decode(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("gob", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			plainDecode(b, raw)
		}
	})
}
