package deadline_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/session/internal/deadline"
)

func isDone(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	default:
		return false
	}
}

// A context of Within is like one of package context, whether Done is asked for
// early, late or never.
func TestWithin(t *testing.T) {
	cause := errors.New("hung up")
	for name, test := range map[string]struct {
		parent time.Duration // deadline of the parent
		end    func(cancel context.CancelFunc, cancelParent context.CancelCauseFunc)
		want   error
	}{
		"nothing":                  {time.Hour, func(context.CancelFunc, context.CancelCauseFunc) {}, nil},
		"the timeout":              {time.Hour, func(context.CancelFunc, context.CancelCauseFunc) { time.Sleep(time.Minute) }, context.DeadlineExceeded},
		"the deadline before that": {time.Second, func(context.CancelFunc, context.CancelCauseFunc) { time.Sleep(time.Second) }, context.DeadlineExceeded},
		"canceled":                 {time.Hour, func(cancel context.CancelFunc, _ context.CancelCauseFunc) { cancel(); cancel(); time.Sleep(time.Hour) }, context.Canceled},
		"canceled too late":        {time.Hour, func(cancel context.CancelFunc, _ context.CancelCauseFunc) { time.Sleep(2 * time.Minute); cancel() }, context.DeadlineExceeded},
		"the parent":               {time.Hour, func(_ context.CancelFunc, parent context.CancelCauseFunc) { parent(cause); time.Sleep(time.Hour) }, context.Canceled},
	} {
		for _, when := range []string{"early", "late", "never"} {
			t.Run(name+", "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					parent, cancelParent := context.WithCancelCause(context.WithValue(t.Context(), key{}, 1))
					defer cancelParent(nil)
					parent, stop := context.WithTimeout(parent, test.parent)
					defer stop()
					ctx, cancel := deadline.Within(parent, time.Minute)
					defer cancel()
					if end, ok := ctx.Deadline(); !ok || time.Until(end) != min(test.parent, time.Minute) {
						t.Errorf("the deadline is %v, %v", end, ok)
					}
					if when == "early" && (isDone(ctx) || ctx.Err() != nil) {
						t.Error("ended at once")
					}
					test.end(cancel, cancelParent)
					synctest.Wait()
					if err := ctx.Err(); !errors.Is(err, test.want) {
						t.Errorf("Err is %v", err)
					}
					if when != "never" && isDone(ctx) != (test.want != nil) {
						t.Errorf("done: %v", isDone(ctx))
					}
					if err := ctx.Err(); !errors.Is(err, test.want) {
						t.Errorf("Err is %v in the end", err)
					}
					if ctx.Value(key{}) != 1 {
						t.Error("the value is lost")
					}
				})
			})
		}
	}
}

// What is derived from a context of Within ends with it, and needs no goroutine.
func TestWithinDerived(t *testing.T) {
	parent, hangUp := context.WithCancelCause(t.Context())
	ctx, cancel := deadline.Within(parent, time.Hour)
	defer cancel()
	before := runtime.NumGoroutine()
	for range 10 {
		child, cancelChild := context.WithCancel(ctx)
		defer cancelChild()
		defer func() {
			if <-child.Done(); child.Err() == nil {
				t.Error("not ended")
			}
		}()
	}
	if n := runtime.NumGoroutine() - before; n > 0 {
		t.Errorf("%d goroutines", n)
	}
	cause := errors.New("hung up")
	hangUp(cause)
	if got := context.Cause(ctx); !errors.Is(got, cause) {
		t.Errorf("the cause is %v", got)
	}
}

// An operation that nobody watches costs next to nothing.
func TestWithinAllocations(t *testing.T) {
	n := testing.AllocsPerRun(100, func() {
		ctx, cancel := deadline.Within(context.Background(), time.Hour)
		if ctx.Err() != nil {
			t.Error("ended")
		}
		cancel()
	})
	if n > 2 {
		t.Errorf("%v allocations", n)
	}
}
