package ttl_test

import (
	"math"
	"testing"
	"time"

	"github.com/flamego/session/internal/ttl"
)

func TestMillis(t *testing.T) {
	for d, want := range map[time.Duration]int64{
		0: 0, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, time.Hour: 3_600_000,
		-time.Second: -1000, math.MaxInt64: math.MaxInt64/1_000_000 + 1,
	} {
		if got := ttl.Millis(d); got != want {
			t.Errorf("%v: got %d, want %d", d, got, want)
		}
	}
}
