package bench

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkLoad has 64 visitors make 10,000 requests, twice: for what the processors
// spend on them, and for how long each visitor waits. The second time is one of its own,
// as looking at the clock costs as well.
func BenchmarkLoad(b *testing.B) {
	visitors, requests := size(8, 64), size(16, 10_000)
	for _, st := range stores {
		b.Run("store="+st.name, func(b *testing.B) {
			subjects := st.open(b, "load")
			for _, c := range []string{caseRead, caseSet} {
				for _, s := range shuffled(subjects) {
					measured(b, fmt.Sprintf("case=%s/via=%s", c, s.name()), func(b *testing.B) map[string]float64 {
						all := begin(b, c, visitors, s, six)
						figures := processorTime(b, all, requests)
						waits := waitTimes(b, all, requests)
						figures["p50-us"], figures["p99-us"] = micros(waits, 0.5), micros(waits, 0.99)
						for _, w := range all {
							check(b, w.check())
						}
						return figures
					})
				}
			}
		})
	}
}

// processorTime is what n requests take of the processors, in seconds: in this process,
// and in those of the servers. Garbage that was there before is nobody's.
func processorTime(b *testing.B, all []*work, n int) map[string]float64 {
	runtime.GC()
	servers, own := serversCPU(b), ownCPU(b)
	share(b, all, n)
	own = ownCPU(b) - own
	return map[string]float64{"app-cpu-s": own.Seconds(), "server-cpu-s": serversCPU(b).since(servers).Seconds()}
}

// waitTimes returns how long each of n requests took, in order. All memory for it is
// there before the first one.
func waitTimes(b *testing.B, all []*work, n int) []time.Duration {
	waits := make([]time.Duration, n)
	runtime.GC()
	var wg sync.WaitGroup
	for i, w := range all {
		own := waits[n*i/len(all) : n*(i+1)/len(all)]
		wg.Go(func() {
			for i := range own {
				start := time.Now()
				err := w.do()
				own[i] = time.Since(start)
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(waits)
	return waits
}

// micros returns a quantile of sorted durations in microseconds.
func micros(sorted []time.Duration, q float64) float64 {
	return float64(sorted[int(q*float64(len(sorted)-1))].Nanoseconds()) / 1000
}
