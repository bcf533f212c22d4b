package deadline_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/session/internal/deadline"
)

type key struct{}

func TestWithoutDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, 1), time.Minute)
		defer cancel()
		ctx = deadline.WithoutDone(ctx)
		if ctx.Done() != nil || ctx.Err() != nil || ctx.Value(key{}) != 1 {
			t.Error("the context is watched, or has lost its value")
		}
		if got, ok := ctx.Deadline(); !ok || time.Until(got) != time.Minute {
			t.Error("the deadline is lost")
		}

		for timeout, want := range map[time.Duration]time.Duration{time.Second: time.Second, time.Hour: time.Minute} {
			begun := time.Now()
			watched, cancel := deadline.Watched(ctx, timeout)
			defer cancel()
			if got, _ := watched.Deadline(); got.Sub(begun) != want || watched.Value(key{}) != 1 {
				t.Errorf("a timeout of %v ends after %v", timeout, got.Sub(begun))
			}
		}
		watched, cancelWatched := deadline.Watched(ctx, time.Hour)
		defer cancelWatched()
		if err := deadline.Err(ctx); err != nil {
			t.Error(err)
		}
		<-watched.Done()
		if err := deadline.Err(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after the deadline the error is %v", err)
		}
	})
}

func TestWatchedEndsWithItsParent(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	watched, cancelWatched := deadline.Watched(ctx, time.Hour)
	defer cancelWatched()
	cancel()
	<-watched.Done()
	if err := deadline.Err(watched); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
