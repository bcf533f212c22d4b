package bench

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// BenchmarkRequest is the comparison. ns/op is per request. It runs first, which
// the name of this file sees to: after the benchmark of GC the servers are busy
// with what it leaves behind.
func BenchmarkRequest(b *testing.B) {
	for _, st := range stores {
		b.Run("store="+st.name, func(b *testing.B) {
			subjects := st.open(b, "request")
			for _, c := range []string{caseRead, caseSet, caseNew, caseLogin} {
				for _, g := range []int{1, 64} {
					for _, s := range shuffled(subjects) {
						workers(b, benchName(c, g, s), c, g, s, six)
					}
				}
			}
			for _, g := range []int{writers, 64} {
				for _, s := range shuffled(subjects) {
					parallelWriters(b, g, s)
				}
			}
		})
	}
}

// BenchmarkGoroutines has the points of the curves. All of a curve are to be measured in the
// same way, so they are not those of BenchmarkRequest. (gorilla is left out as everywhere
// but there.)
func BenchmarkGoroutines(b *testing.B) {
	for _, st := range stores {
		b.Run("store="+st.name, func(b *testing.B) {
			subjects := slices.DeleteFunc(st.open(b, "goroutines"), func(s subject) bool {
				return s.name() == "gorilla" || s.name() == "nethttp"
			})
			for _, c := range []string{caseRead, caseSet} {
				for _, g := range []int{1, 8, 64, 256, 1024}[:size(2, 5)] {
					for _, s := range shuffled(subjects) {
						workers(b, benchName(c, g, s), c, g, s, six)
					}
				}
			}
		})
	}
}

// shuffled returns all in any order, as each finds the machine as the one before it
// left it.
func shuffled[T any](all []T) []T {
	all = slices.Clone(all)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func benchName(c string, g int, s subject) string {
	return fmt.Sprintf("case=%s/g=%d/via=%s", c, g, s.name())
}

// workers has g goroutines make the requests of a case, each as one visitor.
func workers(b *testing.B, name, c string, g int, s subject, sh shape) {
	if !s.has(c) {
		return
	}
	var all []*work // for all calls of the benchmark
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		if all == nil {
			all = begin(b, c, g, s, sh)
		}
		b.ResetTimer()
		share(b, all, b.N)
		b.StopTimer()
		for _, w := range all {
			if err := w.check(); err != nil {
				b.Error(err)
			}
		}
	})
}

// begin returns g workers that have worked already, so that the pool is full.
func begin(b *testing.B, c string, g int, s subject, sh shape) []*work {
	b.Helper()
	var all []*work
	for range g {
		all = append(all, must[*work](b)(s.begin(c, sh)))
	}
	share(b, all, 2*g)
	return all
}

// share has the workers make n requests, at once.
func share(b *testing.B, all []*work, n int) {
	var wg sync.WaitGroup
	for i, w := range all {
		own := n / len(all)
		if i < n%len(all) {
			own++
		}
		wg.Go(func() {
			for range own {
				if err := w.do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// parallelWriters has groups of 8 goroutines write to one session each, all at
// once, and then looks what the sessions have kept; again until there have been
// b.N requests. Only the writing is timed.
func parallelWriters(b *testing.B, g int, s subject) {
	if !s.has(caseWriters) {
		return
	}
	var (
		crowds []*crowd
		rounds int // of all calls of the benchmark, so that no value is written twice
	)
	b.Run(benchName(caseWriters, g, s), func(b *testing.B) {
		b.ReportAllocs()
		b.StopTimer()
		if crowds == nil {
			for range g / writers {
				crowds = append(crowds, must[*crowd](b)(s.crowd()))
			}
			writeAll(b, crowds, "first")
		}
		b.ResetTimer()
		sessions, kept, requests := 0, 0, 0
		var allocs, bytes uint64 // of the writing, as that of all else is not to count
		for requests < b.N {
			rounds++
			round := strconv.Itoa(rounds)
			before := allocated()
			b.StartTimer()
			writeAll(b, crowds, round)
			b.StopTimer()
			after := allocated()
			allocs, bytes = allocs+after.Mallocs-before.Mallocs, bytes+after.TotalAlloc-before.TotalAlloc
			requests += g
			for _, c := range crowds {
				if c.kept == nil {
					continue
				}
				n := must[int](b)(c.kept(round))
				if n < writers && c.keepsAll {
					b.Errorf("%d of %d parallel writes are kept", n, writers)
				}
				sessions, kept = sessions+1, kept+n
			}
		}
		// A round is not cut short, so there are more requests than the b.N that is taken
		// for their number otherwise.
		for unit, sum := range map[string]float64{
			"ns/op": float64(b.Elapsed().Nanoseconds()), "allocs/op": float64(allocs), "B/op": float64(bytes),
		} {
			b.ReportMetric(sum/float64(requests), unit)
		}
		if sessions > 0 {
			b.ReportMetric(float64(kept)/float64(sessions), "kept/8")
		}
	})
}

// allocated tells how much memory has been taken so far.
func allocated() (m runtime.MemStats) {
	runtime.ReadMemStats(&m)
	return m
}

// writeAll is one round.
func writeAll(b *testing.B, crowds []*crowd, round string) {
	var wg sync.WaitGroup
	for _, c := range crowds {
		for i := range writers {
			wg.Go(func() {
				if err := c.write(i, round); err != nil {
					b.Error(err)
				}
			})
		}
	}
	wg.Wait()
}
