//go:build unix

package faults

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/history"
	"github.com/flamego/session/internal/testing/child"
	"github.com/flamego/session/internal/testing/mongowire"
	"github.com/flamego/session/internal/testing/tcpproxy"
)

// historyVariable tells a child process of TestHistory what it works on, as JSON.
const historyVariable = "FAULTS_HISTORY"

type historyPlace struct{ Subject, Place, Server, Clock string }

// historyOptions are those of a process that takes part in histories.
func (s subject) historyOptions(place, server string) session.Options {
	opts := s.at(place, server)
	opts.OwnerKey, opts.Timeout = history.OwnerKey, 2*time.Second
	if s.name == "mongo" {
		opts.Timeout = 30 * time.Second // no request ends while FerretDB works: see TestHistory
	}
	return opts
}

// TestHistory has clients in two processes (in memory, in one) play histories, one after the other and
// several at once, under random faults, and checks each of them: what was committed is read, what has
// ended stays dead, sessions are apart, nobody changes what is not his, a flash is seen once, an
// addition counts once, and who comes late with the ID from before a renewal begins no session of his
// own. FAULTS_SEED has the clients and the faults drawn as in a run that has failed; how the processes
// overlap is another matter.
func TestHistory(t *testing.T) {
	if text := os.Getenv(historyVariable); text != "" {
		historyChild(t, text)
		return
	}
	seed := rand.Uint64() >> 1
	if given, err := strconv.ParseUint(os.Getenv("FAULTS_SEED"), 10, 64); err == nil {
		seed = given
	}
	eachBeside(t, func(subject) bool { return true }, func(t *testing.T, s subject) {
		place := historyPlace{Subject: s.name, Place: s.place(t), Clock: filepath.Join(t.TempDir(), "clock")}
		// FerretDB looks and writes in two steps, so a proxy has its commands go one by one. The next one goes
		// when an app has hung up, though FerretDB may still work: so there are no faults on the way to it.
		ferret := s.name == "mongo" && os.Getenv("MONGODB_URI") == ""
		inTurn := ""
		if ferret {
			inTurn, _ = s.ruled(t, s.server(t), mongowire.InTurn())
		}
		through := func() (string, *tcpproxy.Proxy) {
			switch {
			case ferret:
				return inTurn, nil
			case !s.remote():
				return "", nil
			}
			return s.behind(t, s.server(t))
		}
		f := &historyFaults{rng: rand.New(rand.NewPCG(seed, 1)), counts: make(map[string]int)}
		server, proxy := through()
		clock := sharedClock(t, place.Clock)
		instances := []instance{openInstance(t, s.historyOptions(place.Place, server), clock)}
		f.proxies = append(f.proxies, proxy)
		if s.name != "memory" {
			place.Server, proxy = through()
			other := startInstance(t, place)
			defer other.end()
			instances, f.other = append(instances, other), other.p
			f.proxies = append(f.proxies, proxy)
		}

		var next, finished, failed, late, requests, operations atomic.Int64
		problem := make(chan string, 1)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					p := newHistory(seed+uint64(next.Add(1)), instances, f.calm)
					if text := p.play(); text != "" {
						select {
						case problem <- fmt.Sprintf("FAULTS_SEED=%d, history %d: %s", seed, p.seed-seed, text):
						default:
						}
						return
					}
					finished.Add(1)
					failed.Add(int64(p.failed()))
					late.Add(int64(history.Late(p.steps)))
					requests.Add(int64(len(p.steps)))
					operations.Add(p.operations.Load())
				}
			})
		}
		// Whether a renewal has left its mark is known only as long as there are no faults.
		enough := int64(rounds(20, 200))
		if ferret {
			enough = 5 // it is slow
		}
		for calm := time.Now(); late.Load() <= enough && len(problem) == 0 && time.Since(calm) < 3*time.Minute; {
			time.Sleep(10 * time.Millisecond)
		}
		f.work(t, time.Now().Add(time.Duration(rounds(2, 60))*time.Second), problem)
		close(stop)
		wg.Wait()
		select {
		case text := <-problem:
			t.Fatal(text)
		default:
		}
		require.Greater(t, finished.Load(), int64(10), "there were hardly any histories")
		require.Less(t, failed.Load(), requests.Load()/2, "most requests have failed, which shows nothing")
		if full() {
			f.requireAll(t)
		}
		require.Greater(t, late.Load(), enough, "hardly anybody came with an ID that was given up a moment ago")
		figure(t, "%d operations in %d requests of %d histories in %d processes, %d of the requests failed, %d came with an ID that was given up a moment ago; %s; 0 violations",
			operations.Load(), requests.Load(), finished.Load(), len(instances), failed.Load(), late.Load(), f)
	})
}

// historyFaults draws faults, one after the other.
type historyFaults struct {
	rng     *rand.Rand
	proxies []*tcpproxy.Proxy // of the processes, nil without a server
	other   *child.Process    // nil where there is one process
	counts  map[string]int
	begun   atomic.Bool // writes may have been hit
}

func (f *historyFaults) calm() bool { return !f.begun.Load() }

// work breaks and mends until the time is over or there is a problem. What it has broken is
// mended when it returns.
func (f *historyFaults) work(t *testing.T, until time.Time, problem chan string) {
	f.begun.Store(slices.ContainsFunc(f.proxies, func(p *tcpproxy.Proxy) bool { return p != nil }))
	for time.Now().Before(until) && len(problem) == 0 {
		time.Sleep(20*time.Millisecond + f.upTo(200*time.Millisecond))
		p := f.proxies[f.rng.IntN(len(f.proxies))]
		switch n := f.rng.IntN(100); {
		case f.other != nil && (p == nil || n < 10):
			f.other.Pause()
			time.Sleep(f.upTo(200 * time.Millisecond))
			f.other.Resume()
			f.counts["pauses of a process"]++
		case p == nil: // only the faults that are drawn for each request
		case n < 25:
			p.Cut()
			f.counts["cuts"]++
		case n < 45:
			p.Reset()
			f.counts["resets"]++
		case n < 75:
			for range 1 + f.rng.IntN(10) {
				p.Lose()
				time.Sleep(5 * time.Millisecond)
				f.counts["lost answers"]++
			}
		case n < 88:
			p.Set(tcpproxy.Freeze)
			time.Sleep(f.upTo(200 * time.Millisecond))
			p.Set(tcpproxy.Pass)
			f.counts["freezes"]++
		case n < 97:
			p.Stop()
			time.Sleep(f.upTo(100 * time.Millisecond))
			p.Start(t)
			f.counts["outages"]++
		default:
			p.FreezeOpen()
			f.counts["dead connections"]++
		}
	}
}

// requireAll fails if a kind of fault was never drawn, of those that there are.
func (f *historyFaults) requireAll(t *testing.T) {
	t.Helper()
	if f.other != nil {
		require.Positive(t, f.counts["pauses of a process"])
	}
	if f.proxies[0] != nil {
		for _, kind := range []string{"cuts", "resets", "lost answers", "freezes", "outages", "dead connections"} {
			require.Positive(t, f.counts[kind], kind)
		}
	}
}

func (f *historyFaults) upTo(d time.Duration) time.Duration {
	return time.Duration(f.rng.Int64N(int64(d)))
}

func (f *historyFaults) String() string {
	var all []string
	for name, n := range f.counts {
		all = append(all, fmt.Sprintf("%d %s", n, name))
	}
	slices.Sort(all)
	return strings.Join(append(all, "panics and cancelled requests"), ", ")
}

// sharedClock returns a clock that counts. Processes that open the same file have the same one.
func sharedClock(t testing.TB, path string) func() int64 {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, file.Truncate(8))
	mem, err := syscall.Mmap(int(file.Fd()), 0, 8, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	require.NoError(t, err)
	count := (*atomic.Int64)(unsafe.Pointer(&mem[0]))
	return func() int64 { return count.Add(1) }
}

// historyChild is the other process: it does what the parent asks it to, until the parent has
// nothing more to ask.
func historyChild(t *testing.T, text string) {
	var place historyPlace
	require.NoError(t, json.Unmarshal([]byte(text), &place))
	i := slices.IndexFunc(subjects, func(s subject) bool { return s.name == place.Subject })
	require.GreaterOrEqual(t, i, 0)
	opts := subjects[i].historyOptions(place.Place, place.Server)
	opts.TouchInterval = -1 // each request that only reads extends its session, too
	in := openInstance(t, opts, sharedClock(t, place.Clock))
	asked, answered := child.Parent()
	from, to := json.NewDecoder(asked), json.NewEncoder(answered)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for {
		var m message
		if from.Decode(&m) != nil {
			break
		}
		wg.Go(func() {
			result := in.do(*m.Job)
			mu.Lock()
			defer mu.Unlock()
			_ = to.Encode(message{N: m.N, Result: &result})
		})
	}
	wg.Wait()
}
