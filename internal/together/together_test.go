package together_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/session/internal/together"
)

// second is what a round trip takes, less than together.Patience.
const second = together.Patience / 2

// server answers with the keys themselves after a second, unless it is told not to.
type server struct {
	mu    sync.Mutex
	sizes []int
	fail  func(n int) error
}

func (s *server) fetch(ctx context.Context, keys []string) ([]string, error) {
	s.mu.Lock()
	s.sizes = append(s.sizes, len(keys))
	n := len(s.sizes)
	s.mu.Unlock()
	select {
	case <-time.After(second):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.fail != nil {
		if err := s.fail(n); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// result is that of a look-up in the background.
type result struct {
	answer string
	err    error
}

func get(ctx context.Context, g *together.Group[string], key string) *result {
	r := &result{err: errors.New("panicked")}
	go func() {
		defer func() { _ = recover() }()
		r.answer, r.err = g.Get(ctx, key)
	}()
	synctest.Wait()
	return r
}

func (r *result) want(t *testing.T, answer string, err error) {
	t.Helper()
	synctest.Wait()
	if r.answer != answer || !errors.Is(r.err, err) || (err == nil) != (r.err == nil) {
		t.Errorf("got %q and error %v, want %q and %v", r.answer, r.err, answer, err)
	}
}

func inBubble(t *testing.T, n, most int, f func(t *testing.T, s *server, g *together.Group[string])) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		g := together.New(n, most, s.fetch)
		f(t, s, g)
		time.Sleep(time.Minute)
		if g.Turns() != 0 {
			t.Error("a turn is not given back")
		}
	})
}

// Those that wait go together, no more of them than may, and each gets its own answer.
func TestTogether(t *testing.T) {
	inBubble(t, 2, 5, func(t *testing.T, s *server, g *together.Group[string]) {
		var all []*result
		for i := range 10 {
			all = append(all, get(t.Context(), g, fmt.Sprint(i)))
		}
		if n := g.Waiting(); n != 8 {
			t.Errorf("%d wait", n)
		}
		time.Sleep(second * 5 / 2)
		for i, r := range all {
			r.want(t, fmt.Sprint(i), nil)
		}
		if got := fmt.Sprint(s.sizes); got != "[1 1 5 3]" && got != "[1 1 3 5]" {
			t.Error(got)
		}
	})
}

// A look-up ends with its own context and no other, whoever took it along.
func TestContexts(t *testing.T) {
	inBubble(t, 1, 10, func(t *testing.T, s *server, g *together.Group[string]) {
		hurried, stop := context.WithTimeout(t.Context(), second*3/2)
		defer stop()
		cancelled, cancel := context.WithCancel(t.Context())
		first := get(t.Context(), g, "first")
		leader := get(hurried, g, "leader")
		gone := get(cancelled, g, "gone")
		taken := get(t.Context(), g, "taken")
		time.Sleep(second / 2)
		cancel()
		gone.want(t, "", context.Canceled)

		time.Sleep(second + time.Millisecond) // the leader has failed
		first.want(t, "first", nil)
		leader.want(t, "", context.DeadlineExceeded)
		time.Sleep(second)
		taken.want(t, "taken", nil)
		if got := fmt.Sprint(s.sizes); got != "[1 2 1]" {
			t.Error(got)
		}
	})
}

// One that was taken along does not outlast its context either.
func TestTakenInAHurry(t *testing.T) {
	inBubble(t, 1, 10, func(t *testing.T, _ *server, g *together.Group[string]) {
		first := get(t.Context(), g, "first")
		leader := get(t.Context(), g, "leader")
		hurried, stop := context.WithTimeout(t.Context(), second*3/2)
		defer stop()
		taken := get(hurried, g, "taken")
		time.Sleep(second*3/2 + time.Millisecond)
		first.want(t, "first", nil)
		taken.want(t, "", context.DeadlineExceeded)
		time.Sleep(second)
		leader.want(t, "leader", nil)
	})
}

// An error is that of all who were asked for together, and the next ones are asked
// for anew. A panic leaves nobody waiting.
func TestErrors(t *testing.T) {
	inBubble(t, 1, 10, func(t *testing.T, s *server, g *together.Group[string]) {
		outage := errors.New("no connection")
		s.fail = func(n int) error {
			switch n {
			case 2:
				return outage
			case 4:
				panic("a defect")
			}
			return nil
		}
		for round, want := range []error{outage, nil} {
			first := get(t.Context(), g, "first")
			leader := get(t.Context(), g, "leader")
			taken := get(t.Context(), g, "taken")
			time.Sleep(3 * second)
			first.want(t, "first", nil)
			if round == 0 {
				leader.want(t, "", want)
				taken.want(t, "", want)
			} else if taken.err == nil || taken.err.Error() != "the client panicked" {
				t.Errorf("the error is %v", taken.err)
			}
		}
	})
}

// A round trip that hangs holds up nobody for long.
func TestPatience(t *testing.T) {
	inBubble(t, 2, 10, func(t *testing.T, s *server, g *together.Group[string]) {
		s.fail = func(n int) error {
			if n <= 2 {
				time.Sleep(time.Hour)
			}
			return nil
		}
		begun := time.Now()
		for range 2 {
			get(t.Context(), g, "hangs")
		}
		first := get(t.Context(), g, "first")
		taken := get(t.Context(), g, "taken")
		time.Sleep(together.Patience + second)
		first.want(t, "first", nil)
		taken.want(t, "taken", nil)
		if took := time.Since(begun); took > 2*together.Patience {
			t.Error(took)
		}
		time.Sleep(2 * time.Hour)
	})
}
