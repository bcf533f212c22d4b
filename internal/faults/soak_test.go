package faults

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// soaking reports whether the rows of "make soak" run for their whole time.
func soaking() bool { return os.Getenv("FAULTS") == "soak" }

// soakTime is how long each subject is under load. The short form is too short to judge
// the heap: what a renewal leaves behind lives for ten seconds.
func soakTime(t testing.TB) time.Duration {
	if !soaking() {
		return 2 * time.Second
	}
	d, err := time.ParseDuration(cmp.Or(os.Getenv("FAULTS_SOAK"), "10m"))
	require.NoError(t, err)
	return d
}

// TestSoak has 64 visitors at a time use the sessions for long, while GC runs every second and each
// request extends its session. No request fails, and nothing grows: not the heap, nor the numbers
// of goroutines, open files and connections.
func TestSoak(t *testing.T) {
	if full() {
		return // two seconds are nothing for the page: "make soak" has ten minutes
	}
	for _, s := range subjects {
		if !s.short && !soaking() {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			samples := soak(t, s, soakTime(t), 0, nil)
			require.Empty(t, grown(t, samples, soaking()))
			first, last := samples[len(samples)/4], samples[len(samples)-1]
			figure(t, "%d requests in %v, 0 errors; after a quarter and at the end: heap %d and %d kB, %d and %d objects, %d and %d goroutines, %d and %d open files, %d and %d connections",
				last.requests, soakTime(t), first.heap>>10, last.heap>>10, first.objects, last.objects, first.routines, last.routines, first.files, last.files, first.conns, last.conns)
		})
	}
}

// TestSoakSeesLeaks plants leaks: what keeps an object of 32 bytes of each 100th request, a
// goroutine of each 1,000th and a connection of each 10,000th is found.
func TestSoakSeesLeaks(t *testing.T) {
	d, every := 2*time.Second, []int64{100, 100, 100} // too few requests for the real numbers
	least := int64(0)
	if soaking() {
		// The leaks are some of each so many requests, and fewer than what comes and goes by itself
		// are not seen. On a slow machine, enough of them take longer.
		d, every, least = min(soakTime(t), time.Minute), []int64{100, 1000, 10_000}, 200_000
	}
	for _, s := range subjects {
		if s.name != "memory" && (s.name != "redis" || !soaking()) {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer listener.Close()
			end := make(chan struct{})
			defer close(end)
			var mu sync.Mutex
			var objects []*[32]byte
			var conns []net.Conn
			samples := soak(t, s, d, least, func(n int64) {
				mu.Lock()
				defer mu.Unlock()
				if n%every[0] == 0 {
					objects = append(objects, new([32]byte))
				}
				if n%every[1] == 0 {
					go func() { <-end }()
				}
				if n%every[2] == 0 {
					conn, err := net.Dial("tcp", listener.Addr().String())
					if err != nil {
						t.Error(err)
						return
					}
					conns = append(conns, conn)
				}
			})
			for _, conn := range conns {
				_ = conn.Close()
			}
			problems := grown(t, samples, soaking())
			t.Logf("%d requests, %q", samples[len(samples)-1].requests, problems)
			want := []string{"goroutines", "open files"}
			if soaking() {
				want = []string{"objects", "goroutines", "open files"}
			}
			for _, what := range want {
				require.Contains(t, problems, what)
			}
			runtime.KeepAlive(objects)
		})
	}
}

// sample is what the process holds at one time, while no request is under way.
type sample struct {
	requests, heap, objects int64
	routines, files, conns  int64
}

// soak runs the load for so long, and until there were so many requests, and returns the samples. A
// leak is called after each request with its number.
func soak(t *testing.T, s subject, d time.Duration, least int64, leak func(n int64)) (samples []sample) {
	server, conns := "", func() int { return 0 }
	if s.remote() {
		through, p := s.behind(t, s.server(t))
		server, conns = through, p.Conns
	}
	opts := s.at(s.place(t), server)
	opts.GCInterval, opts.TouchInterval = time.Second, -1
	opts.Timeout = 30 * time.Second // the load may be more than the server takes in time
	a := newApp(t, opts)
	a.Get("/short", func(s session.Session) error {
		s.Set("a", "1")
		return session.SetLifetime(s, 2*time.Second)
	})
	for range 1000 { // or the file store opens one lock file after the other
		status, _ := a.visitor(t).visit("/short")
		require.Equal(t, http.StatusOK, status)
	}
	var (
		pause    sync.RWMutex // held for writing while a sample is taken
		requests atomic.Int64
		over     atomic.Bool
		wg       sync.WaitGroup
	)
	for i := range 64 {
		w := &soaker{visitor: a.visitor(t), a: a, abandons: i == 0}
		wg.Go(func() {
			one := func() {
				pause.RLock()
				defer pause.RUnlock()
				w.next()
				if n := requests.Add(1); leak != nil {
					leak(n)
				}
			}
			for !over.Load() && !t.Failed() {
				one()
			}
		})
	}
	tick := min(time.Second, d/20)
	for end := time.Now().Add(d); (time.Now().Before(end) || requests.Load() < least) && !t.Failed(); {
		time.Sleep(tick)
		pause.Lock()
		now := sample{requests: requests.Load(), heap: heapInUse(), routines: int64(runtime.NumGoroutine()), files: openFiles(t), conns: int64(conns())}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		now.objects = int64(m.HeapObjects)
		pause.Unlock()
		samples = append(samples, now)
	}
	over.Store(true)
	wg.Wait()
	if t.Failed() {
		t.FailNow() // there is nothing to judge
	}
	require.Empty(t, a.TakeErrors())
	require.Greater(t, requests.Load(), int64(100))
	return samples
}

func openFiles(t testing.TB) int64 {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd") // of Linux
	require.NoError(t, err)
	return int64(len(files))
}

// grown compares the second quarter of the samples with the last one, by medians, and returns what
// has grown: the heap by more than a part of what a leak of one object in 100 requests would make,
// and anything by more than what comes and goes by itself.
func grown(t *testing.T, samples []sample, withHeap bool) (problems []string) {
	n := len(samples)
	growth := func(of func(sample) int64) int64 {
		median := func(part []sample) int64 {
			var all []int64
			for _, s := range part {
				all = append(all, of(s))
			}
			slices.Sort(all)
			return all[len(all)/2]
		}
		return median(samples[3*n/4:]) - median(samples[n/4:n/2])
	}
	requests := growth(func(s sample) int64 { return s.requests })
	files := int64(3)
	if !withHeap {
		files = 3 * 8 // SQLite may still be opening its eight readers, of three files each
	}
	for _, what := range []struct {
		name string
		of   func(sample) int64
		most int64
	}{
		{"heap", func(s sample) int64 { return s.heap }, max(256<<10, requests/200*64)},
		{"objects", func(s sample) int64 { return s.objects }, max(300, requests/300)},
		{"goroutines", func(s sample) int64 { return s.routines }, 4},
		{"open files", func(s sample) int64 { return s.files }, files},
		{"connections", func(s sample) int64 { return s.conns }, 3},
	} {
		isHeap := what.name == "heap" || what.name == "objects"
		now := growth(what.of)
		t.Logf("%s: %+d in %d requests, at most %d", what.name, now, requests, what.most)
		if now > what.most && (withHeap || !isHeap) {
			problems = append(problems, what.name)
		}
	}
	return problems
}

// soaker is one of those who visit. It makes marks, sessions that end and sessions that expire at
// a steady pace, so that their number is the same all the time, however fast the requests are.
type soaker struct {
	*visitor
	a        *app
	abandons bool // it makes sessions that nobody comes back to

	n                        int // the number in the session
	renewed, ended, deserted time.Time
}

// next makes a request.
func (w *soaker) next() {
	now := time.Now()
	due := func(last *time.Time, every time.Duration) bool {
		if last.IsZero() {
			*last = now.Add(-rand.N(every))
		}
		if now.Sub(*last) < every {
			return false
		}
		*last = now
		return true
	}
	ok := func(path string) {
		if status, body := w.visit(path); status != http.StatusOK {
			w.t.Errorf("%s: status %d: %s: %v", path, status, body, w.a.TakeErrors())
		}
	}
	switch r := rand.IntN(100); {
	case w.abandons && due(&w.deserted, 50*time.Millisecond):
		if status, _ := (&visitor{t: w.t, app: w.app}).visit("/short"); status != http.StatusOK {
			w.t.Errorf("a first visit: status %d: %v", status, w.a.TakeErrors())
		}
	case due(&w.renewed, time.Second):
		ok("/renew")
	case due(&w.ended, 3*time.Second):
		if got := w.see()["n"]; w.n > 0 && got != strconv.Itoa(w.n) {
			w.t.Errorf("%d additions were answered, and the number is %s", w.n, got)
		}
		ok("/logout")
		w.n = 0
	case r < 60:
		ok("/get")
	case r < 80:
		ok(set("a", fmt.Sprint(r)))
	case r < 95:
		ok("/add?n")
		w.n++
	default:
		ok("/flash?hello")
	}
}
