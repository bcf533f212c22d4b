package storetest

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// openMemory opens memory stores.
func openMemory(_ testing.TB, lifetime time.Duration) session.Options {
	return session.Options{Config: session.MemoryConfig{Lifetime: lifetime}}
}

// TestLoad runs the rules of load.go at the size that takes a while.
func TestLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	openRecords := openBackend(func(b *mapbackend.Backend) session.Backend { return b })
	t.Run("10,000 requests, memory", func(t *testing.T) {
		t.Parallel()
		newEnv(t, openMemory, long).manyRequests(10_000, 40, time.Minute)
	})
	t.Run("200 visitors, memory", func(t *testing.T) {
		t.Parallel()
		newEnv(t, openMemory, long).hangUps(200, 50)
	})
	t.Run("200 visitors, records", func(t *testing.T) {
		t.Parallel()
		newEnv(t, openRecords, long).hangUps(200, 50)
	})
}

// TestQueue counts what it takes to commit 64 overlapping requests to a server
// that is a millisecond away: a load each, and a few swaps, as those that wait for
// one go together in the next. Taking turns alone would take 64 of them (129 round
// trips), starting over because another was faster 254, and without taking turns
// they would make each other start over time and again (some 1,700).
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &distant{Backend: mapbackend.New()}
		e := newEnv(t, openBackend(func(*mapbackend.Backend) session.Backend { return b }), long)
		v := e.loggedIn()
		b.trips.Store(0)
		e.overlapping(v, 64)
		if n := b.trips.Load(); n > 64+6 {
			t.Errorf("%d round trips", n)
		} else {
			t.Logf("%d round trips", n)
		}
	})
}

// distant is a backend that is a millisecond away.
type distant struct {
	*mapbackend.Backend
	trips atomic.Int32
}

func (b *distant) trip() {
	b.trips.Add(1)
	time.Sleep(time.Millisecond)
}

func (b *distant) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	b.trip()
	return b.Backend.Load(ctx, sid)
}

func (b *distant) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	b.trip()
	return b.Backend.Swap(ctx, sid, old, rec)
}
