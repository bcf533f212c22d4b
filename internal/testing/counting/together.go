package counting

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/flamego/session"
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
