package session_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

func TestIDAllocations(t *testing.T) {
	n := testing.AllocsPerRun(1000, func() { _, _ = session.NewID(16) })
	require.LessOrEqual(t, n, 1.0)
}

func BenchmarkNewID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if sid, err := session.NewID(16); err != nil || len(sid) != 16 {
			b.Fatal(sid, err)
		}
	}
}
