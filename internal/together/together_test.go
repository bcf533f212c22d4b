package together_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/session/internal/together"
)

// second is what a round trip takes, less than together.Patience.
const second = together.Patience / 5

// server answers with the keys themselves after a second, unless it is told not to.
type server struct {
	mu    sync.Mutex
	sizes []int
	fail  func(keys []string) error // after that
}

func (s *server) fetch(ctx context.Context, keys []string) ([]string, error) {
	s.mu.Lock()
	s.sizes = append(s.sizes, len(keys))
	s.mu.Unlock()
	select {
	case <-time.After(second):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.fail != nil {
		if err := s.fail(keys); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// result is that of a look-up in the background.
type result struct {
	key    string
	answer string
	err    error
}

func get(ctx context.Context, g *together.Group[string], key string) *result {
	r := &result{key: key}
	go func() {
		defer func() {
			if v := recover(); v != nil {
				r.err, _ = v.(error)
			}
		}()
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

func inBubble(t *testing.T, maxTrips, maxKeys int, f func(t *testing.T, s *server, g *together.Group[string])) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		g := together.New(maxTrips, maxKeys, s.fetch)
		f(t, s, g)
		time.Sleep(time.Minute)
		if g.Slots() != 0 {
			t.Error("a slot is not given back")
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
		time.Sleep(second + time.Millisecond) // the leader has failed
		first.want(t, "first", nil)
		leader.want(t, "", context.DeadlineExceeded)
		gone.want(t, "", context.Canceled)
		time.Sleep(second)
		taken.want(t, "taken", nil)
		if got := fmt.Sprint(s.sizes); got != "[1 3 1 1]" {
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

// What fails for several is done again one by one, and fails for those whose fault it
// is. A panic leaves nobody waiting.
func TestErrors(t *testing.T) {
	outage := errors.New("no connection")
	for name, test := range map[string]struct {
		fail                 func(keys []string) error
		first, leader, taken error
		sizes                string
	}{
		"an outage": {func([]string) error { return outage }, outage, outage, outage, "[1 2 1 1]"},
		"too many": {func(keys []string) error {
			if len(keys) > 1 {
				return outage
			}
			return nil
		}, nil, nil, nil, "[1 2 1 1]"},
		"a bad leader": {func(keys []string) error {
			if slices.Contains(keys, "leader") {
				return outage
			}
			return nil
		}, nil, outage, nil, "[1 2 1 1]"},
		"a bad passenger": {func(keys []string) error {
			if slices.Contains(keys, "taken") {
				return outage
			}
			return nil
		}, nil, nil, outage, "[1 2 1 1]"},
		"a panic": {func(keys []string) error {
			if slices.Contains(keys, "leader") {
				panic(outage)
			}
			return nil
		}, nil, outage, nil, "[1 2 1]"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, 10, func(t *testing.T, s *server, g *together.Group[string]) {
				s.fail = test.fail
				first := get(t.Context(), g, "first")
				leader := get(t.Context(), g, "leader")
				taken := get(t.Context(), g, "taken")
				time.Sleep(5 * second)
				for r, want := range map[*result]error{first: test.first, leader: test.leader, taken: test.taken} {
					answer := r.key
					if want != nil {
						answer = ""
					}
					r.want(t, answer, want)
				}
				if got := fmt.Sprint(s.sizes); got != test.sizes {
					t.Error(got)
				}
			})
		})
	}
}

// A round trip that hangs holds up nobody for long, but for whoever made it.
func TestPatience(t *testing.T) {
	inBubble(t, 1, 10, func(t *testing.T, s *server, g *together.Group[string]) {
		s.fail = func(keys []string) error {
			if keys[0] == "leader" {
				time.Sleep(time.Hour)
			}
			return nil
		}
		first := get(t.Context(), g, "first")
		leader := get(t.Context(), g, "leader")
		taken := get(t.Context(), g, "taken")
		time.Sleep(second + time.Millisecond) // the first is back, and the leader under way
		next := get(t.Context(), g, "next")
		nextTaken := get(t.Context(), g, "next taken")
		time.Sleep(together.Patience + second + time.Millisecond)
		for _, r := range []*result{first, taken, next, nextTaken} {
			r.want(t, r.key, nil)
		}
		time.Sleep(time.Hour)
		leader.want(t, "leader", nil)
		if got := fmt.Sprint(s.sizes); got != "[1 2 1 1 1]" {
			t.Error(got)
		}
	})
}

// TestLargeAnswers: on a slow line a round trip for many takes longer than they have. Each
// gets its answer all the same, on time.
func TestLargeAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := together.New(2, 16, func(ctx context.Context, keys []string) ([]string, error) {
			select {
			case <-time.After(time.Duration(len(keys)) * 600 * time.Millisecond):
				return keys, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var results []*result
		for i := range 40 {
			results = append(results, get(ctx, g, fmt.Sprint(i)))
		}
		<-ctx.Done()
		synctest.Wait()
		for _, r := range results {
			if r.err != nil || r.answer != r.key {
				t.Errorf("%s: %q, %v", r.key, r.answer, r.err)
			}
		}
	})
}
