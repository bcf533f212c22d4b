package bench

import (
	"fmt"
	"math/rand/v2"
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
			subjects := st.open(b)
			// In any order, as each finds the machine as the one before it left it.
			shuffled := func() []subject {
				rand.Shuffle(len(subjects), func(i, j int) { subjects[i], subjects[j] = subjects[j], subjects[i] })
				return subjects
			}
			for _, c := range []string{caseRead, caseSet, caseNew, caseLogin} {
				for _, g := range []int{1, 64} {
					for _, s := range shuffled() {
						workers(b, c, g, s)
					}
				}
			}
			for _, g := range []int{writers, 64} {
				for _, s := range shuffled() {
					parallelWriters(b, g, s)
				}
			}
		})
	}
}

func benchName(c string, g int, s subject) string {
	return fmt.Sprintf("case=%s/g=%d/via=%s", c, g, s.name())
}

// workers has g goroutines make the requests of a case, each as one visitor.
func workers(b *testing.B, c string, g int, s subject) {
	if !s.has(c) {
		return
	}
	var all []*work // for all calls of the benchmark
	b.Run(benchName(c, g, s), func(b *testing.B) {
		b.ReportAllocs()
		if all == nil {
			for range g {
				all = append(all, must[*work](b)(s.begin(c)))
			}
			share(b, all, 2*g) // fills the pool
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
		for requests < b.N {
			rounds++
			round := strconv.Itoa(rounds)
			b.StartTimer()
			writeAll(b, crowds, round)
			b.StopTimer()
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
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(requests), "ns/op")
		if sessions > 0 {
			b.ReportMetric(float64(kept)/float64(sessions), "kept/8")
		}
	})
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
