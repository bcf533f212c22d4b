package bench

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/flamego/session"
)

// sid returns an ID of 16 characters, the n-th of many in no order. It is made
// anew each time, so that the store is the only one to hold it.
func sid(n int) string {
	const alphabet = "0123456789abcdefghijklmnopqrstuvwxyz"
	id := []byte("0000000000000000")
	for h, i := uint64(n)*0x9E3779B97F4A7C15, len(id)-1; h > 0; h, i = h/36, i-1 {
		id[i] = alphabet[h%36]
	}
	return string(id)
}

// save stores session n with what set puts into it.
func save(store session.Store, n int, set func(values)) error {
	s, err := store.Read(ctx, sid(n))
	if err != nil {
		return err
	}
	set(s)
	return store.Save(ctx, s)
}

func saveAll(tb testing.TB, store session.Store, from, to int, set func(values)) {
	tb.Helper()
	for n := from; n < to; n++ {
		check(tb, save(store, n, set))
	}
}

// visitSession returns a function that reads session n as its visitor would.
func visitSession(a *app) func(n int) error {
	v := newVisitor(a, new(jar), "")
	return func(n int) error {
		v.jar.cookie = "flamego_session=" + sid(n)
		return v.get(pathRead, "", userName)
	}
}

// BenchmarkMemoryRead reads any one of many sessions.
func BenchmarkMemoryRead(all *testing.B) {
	for _, sessions := range []int{1000, size(10_000, 1_000_000)} {
		var visit func(int) error
		all.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			b.ReportAllocs()
			if visit == nil {
				a := oursApp(all, session.Options{}) // closed after the last call
				saveAll(b, a.store, 0, sessions, fill)
				visit = visitSession(a)
				runtime.GC()
			}
			b.ResetTimer()
			for i := range b.N {
				check(b, visit(int(uint32(i)*2654435761)%sessions))
			}
		})
	}
}

// BenchmarkMemorySize is the heap that sessions take, with their IDs. The six
// values are the same ones for all sessions (six), or each has its own name, token
// and time (six-own), which is memory of the app and of no store.
func BenchmarkMemorySize(b *testing.B) {
	sessions := size(10_000, 1_000_000)
	for _, c := range []struct {
		name string
		sets []func(values)
	}{
		{"empty", []func(values){
			func(v values) { v.Set("key", 1) },
			func(v values) { v.(session.Session).Delete("key") },
		}},
		{"six", []func(values){fill}},
		{"six-own", []func(values){fillOwn}},
	} {
		measured(b, "values="+c.name, func(b *testing.B) map[string]float64 {
			a := oursApp(b, session.Options{})
			before := heap()
			for _, set := range c.sets {
				saveAll(b, a.store, 0, sessions, set)
			}
			after := heap()
			for n := range sessions {
				if !a.store.Exist(ctx, sid(n)) {
					b.Fatalf("session %d is not there", n)
				}
			}
			return map[string]float64{"B/session": float64(after-before) / float64(sessions)}
		})
	}
}

// fillOwn is fill with values that no other session has.
func fillOwn(v values) {
	fill(v)
	v.Set("name", string([]byte(userName)))
	v.Set("csrf", string([]byte("0123456789abcdef")))
	v.Set("seen", time.Now())
}

// heap returns the size of what is reachable.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what the first one has found is free only now
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkMemoryGC has a visitor read while expired sessions are removed.
func BenchmarkMemoryGC(b *testing.B) {
	const live = 1000
	expired := size(10_000, 1_000_000)
	lifetime := time.Duration(size(2, 5)) * time.Second
	measured(b, fmt.Sprintf("expired=%d", expired), func(b *testing.B) map[string]float64 {
		a := oursApp(b, session.Options{Config: session.MemoryConfig{Lifetime: lifetime}})
		saveAll(b, a.store, 0, expired, fill)
		time.Sleep(lifetime)
		saveAll(b, a.store, expired, expired+live, fill)
		runtime.GC()

		visit := visitSession(a)
		quiet := slowest{}
		for i := range 20_000 {
			quiet.time(b, func() error { return visit(expired + i%live) })
		}
		during := slowest{}
		took := whileGC(b, a.store, func(i int) {
			during.time(b, func() error { return visit(expired + i%live) })
		})
		for n := range expired {
			if a.store.Exist(ctx, sid(n)) {
				b.Fatalf("session %d has not been removed", n)
			}
		}
		return map[string]float64{
			"gc-ms":  float64(took.Microseconds()) / 1000,
			"p50-us": during.micros(0.5), "p99-us": during.micros(0.99), "max-us": during.micros(1),
			"quiet-p99-us": quiet.micros(0.99),
		}
	})
}

// whileGC calls f again and again, at least once, while the GC runs.
func whileGC(b *testing.B, store session.Store, f func(i int)) time.Duration {
	b.Helper()
	done := make(chan struct{})
	var (
		took time.Duration
		err  error
		wg   sync.WaitGroup
	)
	wg.Go(func() {
		defer close(done)
		start := time.Now()
		err = store.GC(ctx)
		took = time.Since(start)
	})
	for i := 0; ; i++ {
		f(i)
		select {
		case <-done:
			wg.Wait()
			check(b, err)
			return took
		default:
		}
	}
}

// slowest collects durations, of which the slow ones are asked for.
type slowest struct {
	mu   sync.Mutex
	took []time.Duration
}

// time measures f, which must not fail.
func (s *slowest) time(b *testing.B, f func() error) {
	start := time.Now()
	err := f()
	took := time.Since(start)
	if err != nil {
		b.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = append(s.took, took)
}

// micros returns the quantile q in microseconds, the longest for 1.
func (s *slowest) micros(q float64) float64 {
	slices.Sort(s.took)
	return float64(s.took[int(q*float64(len(s.took)-1))].Nanoseconds()) / 1000
}

// measured is a benchmark of something that is done once, whatever b.N is, and
// has figures of its own.
func measured(b *testing.B, name string, measure func(b *testing.B) map[string]float64) {
	var figures map[string]float64
	b.Run(name, func(b *testing.B) {
		if figures == nil {
			figures = measure(b)
		}
		b.ReportMetric(0, "ns/op") // none
		for unit, figure := range figures {
			b.ReportMetric(figure, unit)
		}
	})
}
