package bench

import (
	"testing"

	"github.com/flamego/session"
)

// BenchmarkID makes IDs, by way of a session that gets a new one.
func BenchmarkID(b *testing.B) {
	b.ReportAllocs()
	s := session.NewBaseSession(sid(0), session.GobEncoder, nil)
	for range b.N {
		old := s.ID()
		check(b, s.RegenerateID(nil, nil))
		if s.ID() == old || len(s.ID()) != len(old) {
			b.Fatalf("after %q the ID is %q", old, s.ID())
		}
	}
}
