package clock_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/session/internal/clock"
)

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ahead = 24 * time.Hour
		own := clock.New()
		clock.Local = func() time.Time { return time.Now().Add(ahead) }
		defer func() { clock.Local = time.Now }()
		c := clock.New()

		want := func(c *clock.Clock, off time.Duration) {
			t.Helper()
			if d := time.Until(c.Now()); d != off {
				t.Errorf("the clock is %v off, want %v", d, off)
			}
		}
		want(own, 0)
		want(c, ahead) // nothing is known of a server

		got, err := c.Learn(func() (time.Time, error) {
			time.Sleep(time.Second)
			server := time.Now()
			time.Sleep(time.Second)
			return server, nil
		})
		if got != ahead || err != nil {
			t.Errorf("the local clock is %v ahead, want %v: %v", got, ahead, err)
		}
		want(c, 0)

		// Clocks that agree to a second and the time of the question count as one.
		for _, test := range []struct{ off, ahead time.Duration }{
			{off: 3 * time.Second, ahead: 0},
			{off: -3 * time.Second, ahead: 0},
			{off: 3001 * time.Millisecond, ahead: 3001 * time.Millisecond},
			{off: -3001 * time.Millisecond, ahead: -3001 * time.Millisecond},
		} {
			got, err := own.Learn(func() (time.Time, error) {
				time.Sleep(time.Second)
				server := time.Now().Add(-test.off)
				time.Sleep(time.Second)
				return server, nil
			})
			if got != test.ahead || err != nil {
				t.Errorf("with %v off the clock is %v ahead, want %v: %v", test.off, got, test.ahead, err)
			}
			want(own, -test.ahead)
		}

		failed := errors.New("failed")
		if _, err := c.Learn(func() (time.Time, error) { return time.Time{}, failed }); !errors.Is(err, failed) {
			t.Error(err)
		}
		want(c, 0)
	})
}
