// Package redisfaults has the rows of the fault table in which sessions move from one server of Redis
// to another: a master is killed, a replica takes its place, a slot migrates. It is for tests only.
//
// The rows are here, and not in internal/faults, as they are run by clients of two modules: see
// internal/testing/clients. Each row returns what it has counted, as a text for the table.
//
// # Model
//
// Visitors of a Flamego app write numbers into their sessions, one after the other, and get a
// new ID now and then. What a response of status 200 has promised is compared with what is stored.
package redisfaults

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/webapp"
)

// app is what visitors visit.
type app struct{ *webapp.App }

func newApp(t testing.TB, opts session.Options) app {
	t.Helper()
	a := app{webapp.New(t, opts)}
	a.Get("/set", func(r *http.Request, s session.Session) string { // answers with the former number
		defer s.Set("n", r.URL.RawQuery)
		return fmt.Sprint(s.Get("n"))
	})
	a.Get("/get", func(s session.Session) string { return fmt.Sprint(s.Get("n")) })
	a.Get("/renew", func(w http.ResponseWriter, r *http.Request, s session.Session) (string, error) {
		return fmt.Sprint(s.Get("n")), s.RegenerateID(w, r)
	})
	a.Get("/logout", session.Destroy)
	return a
}

// visitor is a browser with a session.
type visitor struct {
	*webapp.Browser
	app app
}

// visitor returns one who has a session with the number 0.
func (a app) visitor(t testing.TB) *visitor {
	v := &visitor{webapp.NewBrowser(t, a), a}
	eventually(t, "a new session is stored", func() bool { return v.ok("/set?0") })
	return v
}

func (v *visitor) id() string {
	_, id, _ := strings.Cut(v.Cookie, "=")
	return id
}

func (v *visitor) ok(path string) bool { return v.Get(path).Code == http.StatusOK }

// number returns the number in a response, and -1 if there is none.
func number(w *httptest.ResponseRecorder) int {
	n := -1
	_, _ = fmt.Sscan(w.Body.String(), &n)
	return n
}

// number returns the number of the session, and false if the request failed.
func (v *visitor) number() (n int, ok bool) {
	w := v.Get("/get")
	return number(w), w.Code == http.StatusOK
}

// writer is a visitor who writes one number after the other.
type writer struct {
	*visitor
	asked, answered int           // the last number that was sent, and the last that was answered by 200
	lost            int           // numbers that were answered by 200, and that the next request has not found
	failed          int           // requests
	commits         int           // numbers that were answered by 200
	outage          time.Duration // the longest time from one success to the next one
	latest          atomic.Int64  // when the latest request began that has succeeded, in nanoseconds
}

func (w *writer) run(stop <-chan struct{}) {
	success := time.Now()
	defer func() { w.outage = max(w.outage, time.Since(success)) }()
	for {
		rest := time.Millisecond
		w.asked++
		begun := time.Now()
		response := w.Get(fmt.Sprint("/set?", w.asked))
		if response.Code == http.StatusOK {
			w.lost += max(w.answered-number(response), 0)
			w.answered = w.asked
			w.commits++
			w.latest.Store(begun.UnixNano())
			w.outage, success = max(w.outage, time.Since(success)), time.Now()
		} else {
			w.failed++
			rest = 5 * time.Millisecond
		}
		select {
		case <-stop:
			return
		case <-time.After(rest):
		}
	}
}

// renewal is an ID that a visitor has given up.
type renewal struct {
	id string
	at time.Time
}

// renewer is a visitor who gets one new ID after the other.
type renewer struct {
	*visitor
	t      testing.TB
	old    []renewal
	failed int // requests
	ended  int // sessions that have ended: by a renewal that failed half-way, or by a failover
}

func (r *renewer) run(stop <-chan struct{}) {
	for {
		if !r.renew() {
			r.check()
		}
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// renew asks for a new ID once, and reports whether the request succeeded.
func (r *renewer) renew() bool {
	before := r.id()
	w := r.Get("/renew")
	switch {
	case w.Code != http.StatusOK:
		r.failed++
		if r.id() != before {
			r.t.Errorf("a renewal that has failed has sent an ID")
		}
		return false
	case number(w) < 0:
		r.end(before)
	case r.id() == before: // the session has ended while the request ran
		if n, ok := r.number(); ok && n >= 0 {
			r.t.Errorf("a renewal that was answered has sent no ID")
		}
		r.end(before)
	default:
		r.old = append(r.old, renewal{before, time.Now()})
	}
	return true
}

// check looks whether the session is there under the ID that the visitor has. It is there, or
// nowhere, or the look fails, too.
func (r *renewer) check() {
	before := r.id()
	switch n, ok := r.number(); {
	case !ok:
		r.failed++
	case n < 0:
		r.end(before)
	}
}

// end notes that a session has ended, and begins a new one.
func (r *renewer) end(id string) {
	r.ended++
	r.old = append(r.old, renewal{id, time.Now()})
	r.Cookie = ""
	for range 1000 {
		if r.ok("/set?0") {
			return
		}
		r.failed++
		time.Sleep(5 * time.Millisecond)
	}
	r.t.Errorf("no new session is stored")
}

// crowd are visitors who are busy at the same time.
type crowd struct {
	writers  []*writer
	renewers []*renewer
	stop     chan struct{}
	wg       sync.WaitGroup
}

func (c *crowd) start() {
	c.stop = make(chan struct{})
	for _, w := range c.writers {
		c.wg.Go(func() { w.run(c.stop) })
	}
	for _, r := range c.renewers {
		c.wg.Go(func() { r.run(c.stop) })
	}
}

// servedSince reports whether each writer has begun a request since then that has succeeded.
func (c *crowd) servedSince(then time.Time) bool {
	for _, w := range c.writers {
		if w.latest.Load() < then.UnixNano() {
			return false
		}
	}
	return true
}

// end lets them all make their last request, and checks what is stored now.
func (c *crowd) end(t testing.TB) {
	t.Helper()
	close(c.stop)
	c.wg.Wait()
	for _, w := range c.writers {
		n, ok := w.number()
		require.True(t, ok, "no request succeeds in the end")
		require.GreaterOrEqual(t, n, w.answered, "a commit that was answered is lost, without any request that failed")
		require.LessOrEqual(t, n, w.asked)
	}
	for _, r := range c.renewers {
		r.check()
	}
}

// total is what writers have counted together.
type total struct {
	lost, failed, commits int
	outage                time.Duration
}

func (a *total) add(b total) {
	a.lost += b.lost
	a.failed += b.failed
	a.commits += b.commits
	a.outage = max(a.outage, b.outage)
}

func (c *crowd) total() (sum total) {
	for _, w := range c.writers {
		sum.add(total{w.lost, w.failed, w.commits, w.outage})
	}
	return sum
}

// renewals returns how many renewals there were, how many requests of the renewers failed, and how
// many sessions that has ended.
func (c *crowd) renewals() (renewed, failed, ended int) {
	for _, r := range c.renewers {
		renewed, failed, ended = renewed+len(r.old)-r.ended, failed+r.failed, ended+r.ended
	}
	return renewed, failed, ended
}

// revived returns how many of the IDs that were given up are alive. Those that were given up before
// the time must not be.
func (c *crowd) revived(t testing.TB, before time.Time) (n int) {
	t.Helper()
	for _, r := range c.renewers {
		for _, old := range r.old {
			if !r.app.Store().Exist(t.Context(), old.id) {
				continue
			}
			if old.at.Before(before) {
				t.Errorf("an ID is alive that was given up %v before", before.Sub(old.at))
			}
			n++
		}
	}
	return n
}

// code is what an error says of its reason: the code of a reply of Redis, or the text of the network.
var code = regexp.MustCompile(`\b([A-Z]{3,}) [a-z]|(connection refused|EOF|connection reset by peer|closed network connection|i/o timeout|broken pipe|deadline exceeded)`)

// reasons checks that each error is clear, and returns how often each reason occurs.
func (a app) reasons(t testing.TB, secrets ...string) string {
	t.Helper()
	counts := make(map[string]int)
	for _, err := range a.TakeErrors() {
		text := err.Error()
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("an error shows %q: %s", secret, text)
			}
		}
		found := code.FindStringSubmatch(text)
		if found == nil {
			if !errors.Is(err, session.ErrNotApplied) {
				t.Errorf("an error that is not clear: %s", text)
			}
			counts[text]++
			continue
		}
		counts[found[1]+found[2]]++
	}
	var list []string
	for reason, n := range counts {
		list = append(list, fmt.Sprintf("%s %d", reason, n))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// eventually calls f until it reports true, and returns how long that took.
func eventually(t testing.TB, what string, f func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for !f() {
		if time.Since(begun) > 60*time.Second {
			t.Fatalf("not after a minute: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(begun)
}

// moments counts the prefixes of the rows of a process.
var moments atomic.Int64

func prefix() string { return fmt.Sprintf("faults%d:", moments.Add(1)) }
