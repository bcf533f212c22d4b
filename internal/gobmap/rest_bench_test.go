package gobmap_test

import (
	"errors"
	"testing"
	"time"

	"github.com/flamego/session/internal/gobmap"
)

// A session of eight values, of which one cannot be decoded here.
func BenchmarkRest(b *testing.B) {
	raw := elsewhere(plainEncode(b, map[interface{}]interface{}{
		"user_id": 123, "name": "alice", "admin": false, "csrf": "0123456789abcdef", "visits": int64(42), "seen": time.Unix(1, 0).UTC(),
		"roles": []string{"a", "b"}, "prefs": gobPoint{1, 2},
	}), "gobPoint")
	m, u := undecoded(b, raw)
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m, err := gobmap.Decode(raw)
			if len(m) != 7 || !errors.As(err, &u) {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			raw, err := gobmap.Encode(m)
			if err == nil {
				raw, err = gobmap.Join(raw, u.Rest)
			}
			if err != nil || len(raw) < 200 {
				b.Fatal(err)
			}
		}
	})
}
