package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A gate lets in as many as there are connections, however few the server allows.
func TestGate(t *testing.T) {
	for _, most := range []int{0, 16} {
		synctest.Test(t, func(t *testing.T) {
			g := newGate(most)
			var conns, served, tries atomic.Int64
			for range 40 {
				go func() {
					for range 10 {
						for {
							if err := g.enter(t.Context()); err != nil {
								t.Error(err)
								return
							}
							tries.Add(1)
							if conns.Add(1) <= 4 {
								break
							}
							conns.Add(-1)
							time.Sleep(time.Millisecond)
							g.full()
						}
						time.Sleep(100 * time.Millisecond)
						conns.Add(-1)
						served.Add(1)
						g.leave()
					}
				}()
			}
			begun := time.Now()
			for served.Load() < 400 && time.Since(begun) < time.Minute {
				time.Sleep(time.Millisecond)
			}
			// 100 rounds of 4. Once a second one more tries.
			if d := time.Since(begun); d > 12*time.Second {
				t.Errorf("400 operations of 100 ms by 4 take %v", d)
			}
			if n := tries.Load(); n > 400+40+12 {
				t.Errorf("%d tries for 400 operations", n)
			}

			// When the server has room again, so have we.
			for range 20 {
				time.Sleep(time.Second)
				if g.enter(t.Context()) != nil {
					t.Fatal("the context is not done")
				}
				g.leave()
			}
			for range 16 {
				if g.enter(t.Context()) != nil {
					t.Fatal("the context is not done")
				}
			}
		})
	}
}

// Who does not want to wait passes nobody who waits, as there is room for those first.
func TestGateTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1)
		if !g.tryEnter() || g.tryEnter() {
			t.Error("there is one place")
		}
		go func() {
			if err := g.enter(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		g.leave()
		if g.tryEnter() {
			t.Error("somebody has waited for that place")
		}
		g.leave()
		if !g.tryEnter() || g.inside != 1 {
			t.Errorf("%d inside", g.inside)
		}
	})
}

// Who gives up leaves no place empty and no queue behind.
func TestGateGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1)
		if err := g.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.enter(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
		if len(g.queue) != 0 {
			t.Error("somebody is still in the queue")
		}
		g.leave()
		if err := g.enter(t.Context()); err != nil || g.inside != 1 {
			t.Errorf("%d inside, error: %v", g.inside, err)
		}
	})
}

// A server that takes no writes for long does not get new connections all the time.
func TestMayDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pool{connector: &connector{}}
		p.DB = sql.OpenDB(p.connector)
		defer p.Close()
		for second := range 3 {
			n := 0
			for range 100 {
				if p.mayDrop() {
					n++
				}
			}
			if n != 1 {
				t.Errorf("in second %d connections are closed %d times", second, n)
			}
			time.Sleep(time.Second + time.Millisecond)
		}
	})
}
