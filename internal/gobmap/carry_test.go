package gobmap_test

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/gobmap"
)

// FuzzCarry has a process that does not know some types change a session several times: it sets
// and deletes keys, of values that it can decode and of others. A process that knows all types
// then reads exactly what was there and what was changed.
func FuzzCarry(f *testing.F) {
	for i := range 500 {
		rng, src := rand.New(rand.NewPCG(1, uint64(i))), make([]byte, 20+i)
		for i := range src {
			src[i] = byte(rng.Uint32())
		}
		f.Add(src)
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
		fill := func(data map[interface{}]interface{}, n byte) {
			for range n {
				if val := b.value(0); val != nil {
					data[b.key()] = val
				}
			}
		}
		data := make(map[interface{}]interface{})
		fill(data, 1+b.next()%6)
		want := plainDecode(t, plainEncode(t, data))
		if again, err := tryPlainEncode(want); err != nil || !same(want, plainDecode(t, again)) {
			return // a time whose zone is off by seconds is another time, or none, when it is encoded again
		}
		keys := make([]interface{}, 0, len(want))
		for key := range want {
			if !isPlain(key) {
				return
			}
			keys = append(keys, key)
		}

		raw := elsewhere(plainEncode(t, want), names...)
		for range 1 + b.next()%3 {
			seen, rest := carried(t, raw)
			if seen == nil {
				return
			}
			changed := make(map[interface{}]bool)
			for range min(int(b.next()%3), len(keys)) {
				key := keys[int(b.next())%len(keys)]
				delete(seen, key)
				delete(want, key)
				changed[key] = true
			}
			set := make(map[interface{}]interface{})
			fill(set, b.next()%3)
			if len(set) > 0 {
				own, err := tryPlainDecode(elsewhere(plainEncode(t, set), names...))
				if err != nil {
					return // it does not know what it would set
				}
				set = own
			}
			if again, err := tryPlainEncode(set); err != nil || !same(set, plainDecode(t, again)) {
				return
			}
			for key := range set {
				if !isPlain(key) {
					return
				}
				changed[key] = true
			}
			maps.Copy(seen, set)
			maps.Copy(want, set)
			if rest != nil {
				rest = rest.Without(func(key interface{}) bool { return changed[key] })
			}
			own, err := gobmap.Encode(seen)
			require.NoError(t, err)
			if raw = own; rest != nil {
				raw = joined(t, own, rest)
			}
			if got := plainDecode(t, here(raw)); !same(want, got) {
				t.Fatalf("got %#.2000v, want %#.2000v", got, want)
			}
		}
	})
}

// isPlain reports whether a key is one that every process can decode, and then finds again: a time
// is another key whenever it is decoded.
func isPlain(key interface{}) bool {
	switch key.(type) {
	case gobString, time.Time:
		return false
	}
	return true
}

// carried decodes what can be decoded. It returns nil where nothing can be.
func carried(t testing.TB, raw []byte) (map[interface{}]interface{}, *gobmap.Rest) {
	t.Helper()
	m, err := gobmap.Decode(raw)
	if err == nil || m == nil {
		return m, nil
	}
	m, u := undecoded(t, raw)
	return m, u.Rest
}
