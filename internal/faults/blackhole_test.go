package faults

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/tcpproxy"
)

// silence is a network on which answers arrive late or never.
type silence struct {
	name       string
	begin, end func(*tcpproxy.Proxy)
	served     bool
	short      bool // a part of the short form
}

func mode(m tcpproxy.Mode) func(*tcpproxy.Proxy) { return func(p *tcpproxy.Proxy) { p.Set(m) } }
func late(d time.Duration) func(*tcpproxy.Proxy) { return func(p *tcpproxy.Proxy) { p.Delay(d) } }

var silences = []silence{
	{"black hole", mode(tcpproxy.Hang), mode(tcpproxy.Pass), false, true},
	{"questions held until the end", mode(tcpproxy.Freeze), mode(tcpproxy.Pass), false, false},
	{"answers lost", mode(tcpproxy.Mute), mode(tcpproxy.Pass), false, false},
	{"30 s late", late(30 * time.Second), late(0), false, false},
	{"1 s late", late(time.Second), late(0), true, true},
}

// TestSilence has the server say nothing, or say everything late. What takes longer than
// Options.Timeout ends within half a second after it, as a 500 with one error, in the load of the
// session as in the save. What is 1 s late is served. Visitors without a session are served at
// once, and so are those of another instance, whose network is fine. When the fault is over,
// everybody is served again. It rests on the deadline that each operation gives its connection.
func TestSilence(t *testing.T) {
	each(t, subject.remote, func(t *testing.T, s subject) {
		for _, fault := range silences {
			if !fault.short && !full() {
				continue
			}
			t.Run(fault.name, func(t *testing.T) {
				t.Parallel()
				newQuiet(t, s, fault).run()
			})
		}
	})
}

// quiet is an instance whose server goes silent, and another one whose server does not.
type quiet struct {
	*testing.T
	fault    silence
	timeout  time.Duration
	grace    time.Duration
	p        *tcpproxy.Proxy
	a, other *app

	inside  chan struct{} // has one for each request that is held in its handler
	release atomic.Pointer[chan struct{}]
}

func newQuiet(t *testing.T, s subject, fault silence) *quiet {
	q := &quiet{T: t, fault: fault, timeout: 3 * time.Second, grace: 500 * time.Millisecond, inside: make(chan struct{}, 100)}
	if fault.served {
		q.timeout = 5 * time.Second
	}
	if !full() {
		q.grace = 10 * time.Second // the machine may be busy
	}
	server, place := s.server(t), s.place(t)
	var through string
	through, q.p = s.behind(t, server)
	opts := s.at(place, through)
	opts.Timeout = q.timeout
	q.a, q.other = newApp(t, opts), newApp(t, s.at(place, server))
	q.a.Get("/held/{what}", func(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session) error {
		q.inside <- struct{}{}
		<-*q.release.Load()
		switch c.Param("what") {
		case "set":
			s.Set("b", "2")
		case "add":
			session.Update(s, "n", func(n int) int { return n + 1 })
		case "renew":
			return s.RegenerateID(w, r)
		case "logout":
			return session.Destroy(w, r, s)
		}
		return nil
	})
	return q
}

// The requests during a fault: some begin then, and some are in their handlers when it begins.
var (
	loading = []string{"/get", "/set?b=2", "/renew", "/logout"}
	saving  = []string{"/held/set", "/held/add", "/held/renew", "/held/logout"}
)

func (q *quiet) run() {
	// Without this there is one connection. To make one takes several round trips.
	q.p.Delay(20 * time.Millisecond)
	for range 2 {
		for _, path := range []string{"/get", "/set?b=1", "/add?n", "/renew", "/logout"} {
			all := q.visitors(len(loading) + len(saving))
			var wg sync.WaitGroup
			for _, v := range all {
				wg.Go(func() { v.visit(path) })
			}
			wg.Wait()
		}
	}
	q.p.Delay(0)
	require.Empty(q, q.a.TakeErrors())

	results, worst, strangers := q.during()
	errs := q.a.TakeErrors()
	if q.fault.served {
		require.Empty(q, errs)
		figure(q.T, "all served, the slowest request in %.1f s with a Timeout of %v", worst.Seconds(), q.timeout)
	} else {
		require.Len(q, errs, len(results), "%v", errs)
		for _, err := range errs {
			require.ErrorContains(q, err, "session: ")
			require.Regexp(q, "deadline exceeded|timeout", err.Error())
		}
		require.LessOrEqual(q, worst, q.timeout+q.grace)
	}
	noSecrets(q, errs, "canary")
	for _, r := range results {
		want := http.StatusInternalServerError
		if q.fault.served {
			want = http.StatusOK
		}
		require.Equal(q, want, r.status, r.path)
	}

	q.fault.end(q.p)
	lifted := time.Now()
	require.Eventually(q, func() bool {
		status, _ := results[0].visit("/get")
		return status == http.StatusOK
	}, 10*time.Second+q.grace, time.Millisecond)
	recovered := time.Since(lifted)
	q.a.TakeErrors()
	time.Sleep(300 * time.Millisecond) // what was held is done by now
	for _, r := range results {
		q.check(r)
	}
	require.Empty(q, q.a.TakeErrors())
	if !q.fault.served {
		figure(q.T, "%d requests, each a 500 with one error, the slowest in %.2f s with a Timeout of %v; %d other requests served meanwhile; served again %d ms after the end",
			len(results), worst.Seconds(), q.timeout, strangers, recovered.Milliseconds())
	}
}

// visitors returns new visitors with a session.
func (q *quiet) visitors(n int) []*visitor {
	all := make([]*visitor, n)
	for i := range all {
		all[i] = q.other.visitor(q)
		all[i].ok("/set?a=1&b=1")
		all[i].app = q.a
	}
	return all
}

// got is what a visitor got during the fault.
type got struct {
	*visitor
	path, old string
	status    int
}

// during makes requests while the server is silent, and returns what became of them, how long
// the slowest took, and how many others were served meanwhile.
func (q *quiet) during() (results []*got, worst time.Duration, others int) {
	release := make(chan struct{})
	q.release.Store(&release)
	var begun time.Time
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := func(v *visitor, path string) {
		r := &got{visitor: v, path: path, old: v.id}
		results = append(results, r)
		wg.Go(func() {
			r.status, _ = v.visit(path)
			mu.Lock()
			defer mu.Unlock()
			worst = max(worst, time.Since(begun))
		})
	}
	all := q.visitors(len(saving) + len(loading))
	for i, path := range saving {
		start(all[i], path)
	}
	for range saving {
		<-q.inside
	}
	q.fault.begin(q.p)
	begun = time.Now()
	close(release)
	for i, path := range loading {
		start(all[len(saving)+i], path)
	}
	v := q.other.visitor(q)
	for ; time.Since(begun) < time.Second; others += 2 {
		v.ok("/set?a=1")
		asked := time.Now()
		q.a.visitor(q).ok("/get")
		require.Less(q, time.Since(asked), q.grace, "a visitor without a session waits")
	}
	wg.Wait()
	return results, worst, others
}

// check looks at what is stored for a visitor after the fault. What was answered by 200 is there,
// what was answered by 500 is there or not, and nothing else is.
func (q *quiet) check(r *got) {
	alive := q.other.Store().Exist(q.Context(), r.old)
	seen := r.see()
	value := seen["a"] == "1" && (seen["b"] == "1" || seen["b"] == "2")
	what := r.path + ": status " + http.StatusText(r.status)
	switch gone := !alive && len(seen) == 0; r.path {
	case "/renew", "/held/renew":
		if r.status == http.StatusOK {
			require.False(q, alive, what)
			require.True(q, value, "%s: %v", what, seen)
			return
		}
		require.True(q, gone || alive && value, "%s: %v", what, seen)
	case "/logout", "/held/logout":
		require.True(q, gone || alive && value && r.status != http.StatusOK, "%s: %v", what, seen)
	default:
		require.True(q, alive && value, "%s: %v", what, seen)
		if r.status == http.StatusOK && r.path != "/get" && r.path != "/held/add" {
			require.Equal(q, "2", seen["b"], what)
		}
	}
}
