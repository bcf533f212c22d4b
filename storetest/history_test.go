package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/state"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// seeds is how many histories each of the tests plays. The defects of TestHistoriesCatchDefects are
// seen by 50. For a change to what stores do there are more: make test-full.
func seeds() uint64 {
	switch {
	case full:
		return 500
	case testing.Short():
		return 50
	}
	return 100
}

// playMany plays histories in as many goroutines as there are processors.
func playMany(t *testing.T, size int, play func(t *testing.T, seed uint64, size int)) {
	var next atomic.Uint64
	for range max(2, runtime.GOMAXPROCS(0)) {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for seed := next.Add(1); seed <= seeds() && !t.Failed(); seed = next.Add(1) {
				play(t, seed, size)
			}
		})
	}
}

// playOn plays one history on a backend that can fake expiry.
func playOn(t testing.TB, seed uint64, size int, backend session.Backend, records *mapbackend.Backend, settle func()) {
	playHistories(&env{TB: t}, seed, seed, size, func(h *historyPlay) {
		e := newEnv(t, func(_ testing.TB, lifetime time.Duration) session.Options { return openOn(backend, lifetime) }, long)
		h.envs = []*env{e}
		if h.seed%2 == 0 {
			h.envs = append(h.envs, e.another())
		}
		h.expire = func(sid string) { expire(records, sid) }
		h.settle = settle
	})
}

func expire(b *mapbackend.Backend, sid string) {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	if rec, ok := b.Records[sid]; ok {
		rec.Expiry = time.Now()
		b.Records[sid] = rec
	}
}

func TestHistoriesInMemory(t *testing.T) {
	playMany(t, 200, func(t *testing.T, seed uint64, size int) {
		playHistories(&env{TB: t}, seed, seed, size, func(h *historyPlay) {
			h.envs = []*env{newEnv(t, openMemory, long)}
		})
	})
}

func TestHistoriesOnRecords(t *testing.T) {
	playMany(t, 200, func(t *testing.T, seed uint64, size int) {
		b := mapbackend.New()
		playOn(t, seed, size, b, b, nil)
	})
}

func TestHistoriesInFiles(t *testing.T) {
	playMany(t, 60, func(t *testing.T, seed uint64, size int) {
		playHistories(&env{TB: t}, seed, seed, size, func(h *historyPlay) {
			e := newEnv(t, func(t testing.TB, lifetime time.Duration) session.Options {
				return session.Options{
					Initer: session.FileIniter(),
					Config: session.FileConfig{Lifetime: lifetime, RootDir: filepath.Join(t.TempDir(), "sessions")},
				}
			}, long)
			h.envs = []*env{e, e.another()}[:1+h.seed%2]
		})
	})
}

// TestHistoriesStepByStep has the clients take turns before each operation of the backend too,
// so that chance decides between any two of them, and a seed that has failed fails again.
func TestHistoriesStepByStep(t *testing.T) {
	playMany(t, 150, func(t *testing.T, seed uint64, size int) {
		synctest.Test(t, func(t *testing.T) {
			b := mapbackend.New()
			playOn(t, seed, size, stepwise{b}, b, settle)
		})
	})
}

// TestHistoriesWithLostAnswers does so on a backend that loses answers.
func TestHistoriesWithLostAnswers(t *testing.T) {
	failed := new(atomic.Int64)
	t.Run("", func(t *testing.T) {
		playMany(t, 150, func(t *testing.T, seed uint64, size int) {
			synctest.Test(t, func(t *testing.T) {
				problem, n := playLossy(t, seed, size, func(b *mapbackend.Backend, rng *rand.Rand) session.Backend {
					return &losesAnswers{Backend: b, rng: rng}
				})
				if problem != "" {
					t.Errorf("seed %d: %s", seed, problem)
				}
				failed.Add(int64(n))
			})
		})
	})
	if t.Logf("%d requests failed", failed.Load()); failed.Load() == 0 {
		t.Error("no request has failed")
	}
}

// TestHistoriesCatchRepeats: a driver that sends a write again after its answer was lost
// undoes what others were told is saved.
func TestHistoriesCatchRepeats(t *testing.T) {
	for seed := uint64(1); seed <= 200; seed++ {
		problem := ""
		synctest.Test(t, func(t *testing.T) {
			problem, _ = playLossy(t, seed, 150, func(b *mapbackend.Backend, rng *rand.Rand) session.Backend {
				return repeats{&losesAnswers{Backend: b, rng: rng}}
			})
		})
		if problem != "" {
			t.Logf("seed %d: %s", seed, problem)
			return
		}
	}
	t.Error("no history shows the defect")
}

func playLossy(t *testing.T, seed uint64, size int, lossy func(*mapbackend.Backend, *rand.Rand) session.Backend) (problem string, failed int) {
	b := mapbackend.New()
	e := newEnv(t, func(_ testing.TB, lifetime time.Duration) session.Options {
		return openOn(stepwise{lossy(b, rand.New(rand.NewPCG(seed, 99)))}, lifetime)
	}, long)
	h := &historyPlay{seed: seed, size: size, envs: []*env{e, e.another()}, settle: settle, lossy: true}
	h.expire = func(sid string) { expire(b, sid) }
	h.play()
	for _, s := range h.steps {
		if s.Failed {
			failed++
		}
	}
	return h.problem(), failed
}

// losesAnswers is a backend that loses some answers to writes, before or after it has made
// the write.
type losesAnswers struct {
	*mapbackend.Backend
	mu  sync.Mutex
	rng *rand.Rand
}

var errLost = errors.New("the connection is lost")

func (b *losesAnswers) lossy(ctx context.Context, write func() (bool, error)) (bool, error) {
	b.mu.Lock()
	n := b.rng.IntN(20)
	b.mu.Unlock()
	if n == 0 {
		return false, errLost
	}
	ok, err := write()
	if n < 4 {
		wait(ctx)
		return false, errLost
	}
	return ok, err
}

func (b *losesAnswers) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	return b.lossy(ctx, func() (bool, error) { return b.Backend.Insert(ctx, sid, rec) })
}

func (b *losesAnswers) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	return b.lossy(ctx, func() (bool, error) { return b.Backend.Swap(ctx, sid, old, rec) })
}

func (b *losesAnswers) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	return b.lossy(ctx, func() (bool, error) { return b.Backend.Rename(ctx, sid, newSID, old, rec) })
}

// repeats asks again when it has got no answer.
type repeats struct{ *losesAnswers }

func (b repeats) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	for {
		ok, err := b.losesAnswers.Swap(ctx, sid, old, rec)
		if err == nil {
			return ok, nil
		}
		wait(ctx)
	}
}

// settle waits until all clients wait, and lets some time pass for those that
// wait for time.
func settle() {
	time.Sleep(time.Millisecond)
	synctest.Wait()
}

// TestHistoriesCatchDefects plays histories on stores with a defect, until one
// shows it.
func TestHistoriesCatchDefects(t *testing.T) {
	for name, defect := range map[string]func(*mapbackend.Backend) session.Backend{
		"revives the dead":      func(b *mapbackend.Backend) session.Backend { return upserts{b} },
		"loses an update":       func(b *mapbackend.Backend) session.Backend { return swapsBlindly{b} },
		"inserts over":          func(b *mapbackend.Backend) session.Backend { return overwrites{b} },
		"ignores expiry":        func(b *mapbackend.Backend) session.Backend { return ignoresExpiry{b} },
		"shares data":           func(b *mapbackend.Backend) session.Backend { return sharesIDs{b} },
		"forgets to delete":     func(b *mapbackend.Backend) session.Backend { return forgetsDelete{b} },
		"keeps the old ID":      func(b *mapbackend.Backend) session.Backend { return keepsOldID{b} },
		"loses data on renewal": func(b *mapbackend.Backend) session.Backend { return losesOnRename{b} },
		"extend creates":        func(b *mapbackend.Backend) session.Backend { return extendCreates{b} },
		"sweeps the living":     func(b *mapbackend.Backend) session.Backend { return sweepsAll{b} },
		"keeps nothing":         func(b *mapbackend.Backend) session.Backend { return neverKeeps{b} },
		"loses marks":           func(b *mapbackend.Backend) session.Backend { return losesMarks{b} },
		"reads what is old":     func(b *mapbackend.Backend) session.Backend { return &readsLate{Backend: b} },
		"shares no storage":     nil,
		"saves blindly":         nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= 50; seed++ {
				play := func(t *testing.T, wrap func(session.Backend) session.Backend, settle func()) string {
					b := mapbackend.New()
					e := newEnv(t, func(_ testing.TB, lifetime time.Duration) session.Options {
						switch name {
						case "shares no storage":
							return openSeparate(t, lifetime)
						case "saves blindly":
							return openBlind(t, lifetime)
						default:
							return openOn(wrap(defect(b)), lifetime)
						}
					}, long)
					h := &historyPlay{seed: seed, size: 100, envs: []*env{e, e.another()}, settle: settle}
					h.expire = func(sid string) { expire(b, sid) }
					h.play()
					return h.problem()
				}
				problem := play(t, func(b session.Backend) session.Backend { return b }, nil)
				if problem == "" {
					synctest.Test(t, func(t *testing.T) {
						problem = play(t, func(b session.Backend) session.Backend { return stepwise{b} }, settle)
					})
				}
				if problem != "" {
					t.Logf("seed %d: %s", seed, problem)
					return
				}
			}
			t.Error("no history shows the defect")
		})
	}
}

// losesMarks keeps nothing that lives for no longer than the mark of a renewal.
type losesMarks struct{ *mapbackend.Backend }

func (b losesMarks) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	if rec.TTL <= state.MarkFor {
		return true, nil
	}
	return b.Backend.Insert(ctx, sid, rec)
}

// readsLate is a replica that is behind: a load returns what the load before it
// should have returned.
type readsLate struct {
	*mapbackend.Backend
	mu   sync.Mutex
	last map[string]session.Record
}

func (b *readsLate) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	rec, ok, err := b.Backend.Load(ctx, sid)
	b.mu.Lock()
	defer b.mu.Unlock()
	old, seen := b.last[sid]
	if b.last == nil {
		b.last = make(map[string]session.Record)
	}
	b.last[sid] = rec
	if seen && ok && old.Data != nil {
		return old, true, err
	}
	return rec, ok, err
}

// stepwise is a backend that is called by one client at a time, in turns.
type stepwise struct{ session.Backend }

func wait(ctx context.Context) {
	if c, ok := ctx.Value(clientKey{}).(*historyClient); ok {
		c.pause()
	}
}

func (b stepwise) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	wait(ctx)
	return b.Backend.Load(ctx, sid)
}

func (b stepwise) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	wait(ctx)
	return b.Backend.Insert(ctx, sid, rec)
}

func (b stepwise) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	wait(ctx)
	return b.Backend.Swap(ctx, sid, old, rec)
}

func (b stepwise) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	wait(ctx)
	return b.Backend.Rename(ctx, sid, newSID, old, rec)
}

func (b stepwise) Extend(ctx context.Context, sid string, ttl time.Duration) error {
	wait(ctx)
	return b.Backend.Extend(ctx, sid, ttl)
}

func (b stepwise) Delete(ctx context.Context, sid string) error {
	wait(ctx)
	return b.Backend.Delete(ctx, sid)
}
