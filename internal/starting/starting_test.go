package starting_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/session/internal/starting"
)

var (
	errRefused  = errors.New("refused")
	errPassword = errors.New("password")
)

func mayStart(err error) bool { return !errors.Is(err, errPassword) }

func TestWait(t *testing.T) {
	for name, test := range map[string]struct {
		try     func(n int, ctx context.Context) error
		timeout time.Duration // of the context, 0 for none
		want    error
		after   time.Duration
		tries   int // 0 for any number
	}{
		"at once":    {func(int, context.Context) error { return nil }, 0, nil, 0, 1},
		"third time": {func(n int, _ context.Context) error { return []error{errRefused, errRefused, nil}[n] }, 0, nil, 200 * time.Millisecond, 3},
		"for good":   {func(n int, _ context.Context) error { return []error{errRefused, errPassword}[n] }, 0, errPassword, 100 * time.Millisecond, 2},
		"never":      {func(int, context.Context) error { return errRefused }, 0, errRefused, 5 * time.Second, 0},
		"too short":  {func(int, context.Context) error { return errRefused }, 250 * time.Millisecond, errRefused, 250 * time.Millisecond, 3},
		"hangs": {func(n int, ctx context.Context) error {
			if n == 0 {
				return errRefused
			}
			<-ctx.Done()
			return ctx.Err()
		}, time.Second, errRefused, time.Second, 2},
		"hangs from the beginning": {func(_ int, ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}, time.Second, context.DeadlineExceeded, time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if test.timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.timeout)
					defer cancel()
				}
				begun, tries := time.Now(), 0
				err := starting.Wait(ctx, func(ctx context.Context) error {
					tries++
					return test.try(tries-1, ctx)
				}, mayStart)
				if !errors.Is(err, test.want) || time.Since(begun) != test.after || test.tries > 0 && tries != test.tries {
					t.Errorf("%v after %v and %d tries", err, time.Since(begun), tries)
				}
			})
		})
	}
}
