// Package backoff waits before another attempt.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Pause waits for a random time, so that those who wait at the same time do not meet
// again. The time is less than a millisecond at attempt 0, may be twice as long with each
// attempt, and is always less than maxPause. Pause returns the error of ctx if ctx
// is done first.
func Pause(ctx context.Context, attempt int, maxPause time.Duration) error {
	limit := maxPause
	if attempt < 10 {
		limit = min(time.Millisecond<<attempt, maxPause)
	}
	select {
	case <-time.After(rand.N(limit)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
