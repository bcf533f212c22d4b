package counting

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/tcpproxy"
)

// Together tests that loads at the same time share round trips, and that each gets
// what is its own.
func (s *Server) Together(t *testing.T) {
	const clients, rounds = 64, 20
	ctx := context.Background()
	p := s.proxy(t)
	m, err := session.New(s.Open(t, p.Addr(), nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	sid := func(i int) string { return fmt.Sprintf("together%08d", i) }
	for i := range clients / 2 {
		if err := m.Store().Save(ctx, session.NewBaseSessionWithData(sid(i), nil, nil, session.Data{"n": i})); err != nil {
			t.Fatal(err)
		}
	}

	read := func(i int) error {
		got, err := m.Store().Read(ctx, sid(i))
		if err != nil {
			return err
		}
		want := interface{}(i)
		if i >= clients/2 {
			want = nil
		}
		if got.Get("n") != want {
			return fmt.Errorf("session %d has %v", i, got.Get("n"))
		}
		return nil
	}
	parallel := func(n int) {
		start := make(chan struct{})
		var wg sync.WaitGroup
		for c := range clients {
			wg.Go(func() {
				<-start
				for r := range n {
					// Some ask for the same session, and some for one that is not there.
					if err := read((c + r) % (clients * 3 / 4)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		close(start)
		wg.Wait()
	}
	parallel(3) // makes the connections
	before := p.Trips()
	parallel(rounds)
	trips := p.Trips() - before
	t.Logf("%d round trips for %d loads", trips, clients*rounds)
	if trips > clients*rounds/2 {
		t.Errorf("%d round trips for %d loads", trips, clients*rounds)
	}
}

// SlowLine tests that large sessions are loaded in time over a slow line, as many as come
// at the same time.
func (s *Server) SlowLine(t *testing.T) {
	const (
		sessions, size = 24, 60 << 10
		bytesPerSecond = 100 << 10
		loads          = 31
		first          = 8
	)
	ctx := context.Background()
	var slow atomic.Bool
	p := tcpproxy.New(t, s.Addr, tcpproxy.Rules{Skip: s.Skip, Answer: func(b []byte) []byte {
		if slow.Load() {
			time.Sleep(time.Duration(len(b)) * time.Second / bytesPerSecond)
		}
		return b
	}})
	opts := s.Open(t, p.Addr(), nil)
	opts.Timeout = 3 * time.Second
	m, err := session.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	sid := func(i int) string { return fmt.Sprintf("slow%08d", i%sessions) }
	for i := range sessions {
		data := session.Data{"n": i, "large": strings.Repeat("x", size)}
		if err := m.Store().Save(ctx, session.NewBaseSessionWithData(sid(i), nil, nil, data)); err != nil {
			t.Fatal(err)
		}
	}
	slow.Store(true)
	var wg sync.WaitGroup
	for i := range loads {
		if i == first {
			time.Sleep(size * time.Second / bytesPerSecond * 9 / 10) // the others find these about to end
		}
		wg.Go(func() {
			got, err := m.Store().Read(ctx, sid(i))
			if err != nil || got.Get("n") != i%sessions {
				t.Errorf("session %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}
