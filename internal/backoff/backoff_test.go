package backoff_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/session/internal/backoff"
)

// longest returns the longest of many pauses.
func longest(t *testing.T, attempt int, maxPause time.Duration) (d time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		for range 1000 {
			start := time.Now()
			if err := backoff.Pause(t.Context(), attempt, maxPause); err != nil {
				t.Fatal(err)
			}
			d = max(d, time.Since(start))
		}
	})
	return d
}

func TestPauseGrows(t *testing.T) {
	const maxPause = 20 * time.Millisecond
	for attempt, limit := range map[int]time.Duration{
		0: time.Millisecond, 1: 2 * time.Millisecond, 4: 16 * time.Millisecond, 5: maxPause, 6: maxPause, 1000: maxPause,
	} {
		if d := longest(t, attempt, maxPause); d >= limit || d < limit/2 {
			t.Errorf("attempt %d: the longest pause is %v, want a little less than %v", attempt, d, limit)
		}
	}
}

func TestPauseEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		if err := backoff.Pause(ctx, 30, time.Hour); !errors.Is(err, context.Canceled) || time.Since(start) > 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
