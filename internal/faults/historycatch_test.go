//go:build unix

package faults

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/history"
	"github.com/flamego/session/internal/state"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// broken makes a backend with a defect of a sound one.
type broken func(*mapbackend.Backend) session.Backend

// TestHistoryCatches plays the histories of TestHistory on backends with a defect, until one shows
// that it breaks an invariant. On sound backends none does, also if these lose answers.
func TestHistoryCatches(t *testing.T) {
	for name, backend := range map[string]broken{
		"none":         func(b *mapbackend.Backend) session.Backend { return b },
		"lost answers": func(b *mapbackend.Backend) session.Backend { return losesAnswers{b} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Empty(t, playOn(t, backend, rounds(30, 500), ""))
		})
	}
	for name, defect := range map[string]struct {
		breaks  string
		backend broken
	}{
		"a swap compares nothing":             {"I1", func(b *mapbackend.Backend) session.Backend { return swapsBlindly{b} }},
		"a swap that is refused is confirmed": {"I1", func(b *mapbackend.Backend) session.Backend { return neverRefuses{b} }},
		"a replica is behind":                 {"I1", func(b *mapbackend.Backend) session.Backend { return &readsLate{Backend: b} }},
		"a flash is there for two":            {"flash", func(b *mapbackend.Backend) session.Backend { return swapsBlindly{b} }},
		"a swap makes what has ended":         {"I2", func(b *mapbackend.Backend) session.Backend { return revives{b} }},
		"a delete does nothing":               {"I2", func(b *mapbackend.Backend) session.Backend { return forgetsDelete{b} }},
		"a rename leaves the old ID":          {"I2", func(b *mapbackend.Backend) session.Backend { return keepsOldID{b} }},
		"an index is not complete":            {"I2", func(b *mapbackend.Backend) session.Backend { return findsHalf{b} }},
		"records are mixed up":                {"I3", func(b *mapbackend.Backend) session.Backend { return mixesUp{b} }},
		"a write is sent again":               {"I1", func(b *mapbackend.Backend) session.Backend { return repeats{losesAnswers{b}} }},
		"a write is made and refused":         {"I7", func(b *mapbackend.Backend) session.Backend { return deniesWrites{b} }},
		"a mark is not there":                 {"renewal", func(b *mapbackend.Backend) session.Backend { return losesMarks{b} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			problem := playOn(t, defect.backend, 2000, defect.breaks)
			require.NotEmpty(t, problem, "no history shows it")
			t.Log(problem)
		})
	}
}

// playOn plays histories on a backend until one has a problem that begins with a text.
func playOn(t *testing.T, backend broken, n int, text string) (problem string) {
	b := mapbackend.New()
	b.Before = func(context.Context, string, string) error {
		time.Sleep(rand.N(100 * time.Microsecond))
		return nil
	}
	same := backend(b)
	opts := session.Options{
		Initer: session.NewIniter(func(_ context.Context, sc session.StoreConfig) (session.Backend, session.StoreConfig, error) {
			return same, sc, nil
		}),
		Config: session.StoreConfig{}, OwnerKey: history.OwnerKey,
	}
	var clock atomic.Int64
	tick := func() int64 { return clock.Add(1) }
	instances := []instance{openInstance(t, opts, tick), openInstance(t, opts, tick)}
	_, lossy := same.(losesAnswers)
	for seed := range uint64(n) {
		problem := newHistory(seed, instances, func() bool { return !lossy }).play()
		if problem != "" && strings.HasPrefix(problem, text) {
			return problem
		}
	}
	return ""
}

type (
	swapsBlindly  struct{ *mapbackend.Backend }
	neverRefuses  struct{ *mapbackend.Backend }
	revives       struct{ *mapbackend.Backend }
	forgetsDelete struct{ *mapbackend.Backend }
	keepsOldID    struct{ *mapbackend.Backend }
	findsHalf     struct{ *mapbackend.Backend }
	mixesUp       struct{ *mapbackend.Backend }
	losesMarks    struct{ *mapbackend.Backend }
)

func (b swapsBlindly) Swap(ctx context.Context, sid string, _ []byte, rec session.Record) (bool, error) {
	now, _, _ := b.Load(ctx, sid)
	return b.Backend.Swap(ctx, sid, now.Data, rec)
}

func (b neverRefuses) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	_, err := b.Backend.Swap(ctx, sid, old, rec)
	return true, err
}

func (b revives) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	if _, found, _ := b.Load(ctx, sid); !found {
		return b.Insert(ctx, sid, rec)
	}
	return b.Backend.Swap(ctx, sid, old, rec)
}

func (b forgetsDelete) Delete(context.Context, string) error { return nil }

func (b keepsOldID) Rename(ctx context.Context, _, newSID string, _ []byte, rec session.Record) (bool, error) {
	return b.Insert(ctx, newSID, rec)
}

func (b findsHalf) Owned(ctx context.Context, owner string) ([]session.OwnedRecord, error) {
	owned, err := b.Backend.Owned(ctx, owner)
	// Which ones are missing is a matter of their IDs, so it is the same each time.
	kept := owned[:0]
	for _, rec := range owned {
		if rec.ID[0]%2 == 0 {
			kept = append(kept, rec)
		}
	}
	return kept, err
}

// losesMarks keeps nothing that lives for no longer than the mark of a renewal.
func (b losesMarks) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	if rec.TTL <= state.MarkFor {
		return true, nil
	}
	return b.Backend.Insert(ctx, sid, rec)
}

// mixesUp answers some loads with the record of somebody else.
func (b mixesUp) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	rec, found, err := b.Backend.Load(ctx, sid)
	if !found || rand.IntN(50) > 0 {
		return rec, found, err
	}
	b.Mu.Lock()
	defer b.Mu.Unlock()
	for other, r := range b.Records {
		if other != sid {
			return session.Record{Data: r.Data, TTL: rec.TTL}, true, nil
		}
	}
	return rec, found, err
}

// losesAnswers loses answers to writes, before or after it has made the write.
type losesAnswers struct{ *mapbackend.Backend }

var errLost = errors.New("the connection is lost")

func lossy(write func() (bool, error)) (bool, error) {
	n := rand.IntN(20)
	if n == 0 {
		return false, errLost
	}
	ok, err := write()
	if n < 4 {
		time.Sleep(rand.N(200 * time.Microsecond))
		return false, errLost
	}
	return ok, err
}

func (b losesAnswers) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	return lossy(func() (bool, error) { return b.Backend.Insert(ctx, sid, rec) })
}

func (b losesAnswers) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	return lossy(func() (bool, error) { return b.Backend.Swap(ctx, sid, old, rec) })
}

func (b losesAnswers) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	return lossy(func() (bool, error) { return b.Backend.Rename(ctx, sid, newSID, old, rec) })
}

func (b losesAnswers) Delete(ctx context.Context, sid string) error {
	_, err := lossy(func() (bool, error) { return true, b.Backend.Delete(ctx, sid) })
	return err
}

// repeats sends a write again when its answer was lost, as a driver may.
type repeats struct{ losesAnswers }

func (b repeats) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	for {
		if ok, err := b.losesAnswers.Swap(ctx, sid, old, rec); err == nil {
			return ok, nil
		}
	}
}

// deniesWrites makes some writes and says that it has refused them.
type deniesWrites struct{ *mapbackend.Backend }

func (b deniesWrites) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	ok, err := b.Backend.Swap(ctx, sid, old, rec)
	if rand.IntN(4) == 0 {
		time.Sleep(rand.N(200 * time.Microsecond))
		return false, err
	}
	return ok, err
}

// readsLate is a replica that is behind: a load returns what the load before it should have
// returned.
type readsLate struct {
	*mapbackend.Backend
	mu   sync.Mutex
	last map[string]session.Record
}

func (b *readsLate) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	rec, ok, err := b.Backend.Load(ctx, sid)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last == nil {
		b.last = make(map[string]session.Record)
	}
	old := b.last[sid]
	b.last[sid] = rec
	if ok && old.Data != nil {
		return old, true, err
	}
	return rec, ok, err
}
