package faults

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/testing/counting"
	"github.com/flamego/session/internal/testing/tcpproxy"
)

// TestResetAtEveryByte resets the connection after bytes of what each kind of request and the
// server say to each other. Each request succeeds all the same, but for one that takes a flash,
// which may be lost and is a 500 then. What is written is sent at most twice, is there once, and
// under one ID. In the end, neither a goroutine nor a connection is left.
//
// On a busy machine, a few other requests are a 500, too: the store tells by the time that a
// record has left that nobody has written to it, and looks again only a moment later.
//
// Handshakes are no part of the exchange and are not reset, nor are the heartbeats of MongoDB's driver.
//
// It rests on internal/commit/lost.go, and on connections that tell what was not sent.
func TestResetAtEveryByte(t *testing.T) {
	each(t, subject.remote, func(t *testing.T, s subject) {
		n := newNetwork(t, s)
		plan := resetPlan{lanes: rounds(4, 16), step: rounds(29, 7), usual: 1500}
		if s.name == "mongo" { // whose driver waits for half a second after each reset
			plan = resetPlan{lanes: 64, step: 29, usual: 2100}
		}
		lanes := make([]*lane, plan.lanes)
		for i := range lanes {
			if s.name == "mongo" && i > 0 { // FerretDB reads all documents to find one
				n = newNetwork(t, s)
			}
			lanes[i] = newLane(t, n)
		}
		left := counting.Goroutines(t, func() {
			var wg sync.WaitGroup
			for i, l := range lanes {
				l.app = l.n.open(t, l.through)
				wg.Go(func() { l.resetAll(i, plan) })
			}
			wg.Wait()
			for _, l := range lanes {
				require.NoError(t, l.err)
				// One for requests that come one after the other, and those that a driver has for itself.
				require.LessOrEqual(t, l.p.Conns(), 4)
				require.NoError(t, l.app.Close())
				require.NoError(t, l.n.fine.Close())
			}
		})
		resets, failed, unknown, twice := 0, 0, 0, 0
		for _, l := range lanes {
			counting.Eventually(t, func() string {
				if n := l.p.Conns(); n > 0 {
					return fmt.Sprintf("%d connections are left", n)
				}
				return ""
			})
			resets, failed = resets+l.resets, failed+l.failed
			unknown, twice = unknown+l.unknown, twice+l.twice
		}
		counting.Eventually(t, left)
		require.LessOrEqual(t, unknown, resets/10, "requests did not find out what became of their write")
		figure(t, "%d resets, after 1 of %d bytes of a login and 1 of %d of %d other kinds of requests; 500 said %d takings of a flash, and %d others that did not know what became of a write; %d writes sent twice, none more often, each made once; nothing is left",
			resets, rounds(plan.step, 1), plan.step, len(errands)-1, failed, unknown, twice)
	})
}

// lane is an instance of the app whose network breaks, and which has one request at a time.
type lane struct {
	n       *network
	app     *app
	p       *tcpproxy.Proxy
	through string

	beside *guest                // who only reads, before each request
	asks   atomic.Pointer[guest] // who makes the request
	sent   atomic.Int64          // how often what it writes was sent

	resets, failed, unknown, twice int

	err error // the first
}

func newLane(t *testing.T, n *network) *lane {
	l := &lane{n: n}
	l.through, l.p = n.s.ruled(t, n.server, tcpproxy.Rules{Turn: func(question []byte) func() {
		if g := l.asks.Load(); g != nil && bytes.Contains(question, []byte(g.token.Load().(string))) {
			l.sent.Add(1)
		}
		return func() {}
	}})
	var err error
	l.beside, err = n.prepare(errand{name: "read", before: ofVisitor})
	require.NoError(t, err)
	return l
}

// resetPlan says how the numbers of bytes are shared. In the full form, the exchange that does most,
// a login, is reset after every byte, and the others after each one of step.
type resetPlan struct {
	lanes, step int
	usual       int // how many bytes an exchange has, to prepare for
}

// resetAll runs each errand, time and again, with a reset after more and more bytes, until the
// exchange is shorter than that. The lane is one of several that share the numbers of bytes.
func (l *lane) resetAll(number int, plan resetPlan) {
	steps, ready := make([]int, len(errands)), make([][]*guest, len(errands))
	for i, e := range errands {
		steps[i] = plan.lanes * plan.step
		if full() && e.name == "login" {
			steps[i] = plan.lanes
		}
		if ready[i] = l.prepare(e, plan.usual/steps[i]+1); l.err != nil {
			return
		}
	}
	l.wait()
	for i, e := range errands {
		for bytes := number * steps[i] / plan.lanes; l.err == nil; bytes += steps[i] {
			if len(ready[i]) == 0 {
				ready[i] = l.prepare(e, 10)
				l.wait()
				if l.err != nil {
					return
				}
			}
			g := ready[i][0]
			ready[i] = ready[i][1:]
			done, err := l.reset(e, g, bytes)
			if err != nil {
				l.err = fmt.Errorf("%s, reset after byte %d: %w", e, bytes, err)
			}
			if done {
				break
			}
		}
	}
}

// prepare returns guests for an errand.
func (l *lane) prepare(e errand, n int) []*guest {
	all := make([]*guest, n)
	for i := range all {
		if all[i], l.err = l.n.prepare(e); l.err != nil {
			return nil
		}
	}
	return all
}

// wait waits until the sessions of guests are old enough. Of a record that was written a moment
// ago nobody knows whether a lost write was made, as another request may have put the record
// right again. MySQL knows an expiry to the second.
func (l *lane) wait() { time.Sleep(2200 * time.Millisecond) }

// reset runs an errand once. It reports whether there was no reset.
func (l *lane) reset(e errand, g *guest, bytes int) (done bool, err error) {
	// After this the connection is fine. And nobody is given what was meant for somebody else.
	l.beside.app = l.app
	if seen, err := l.beside.look(); err != nil || seen["a"] != l.beside.value {
		return false, fmt.Errorf("somebody else sees %v, %w", seen, err)
	}
	g.token.Store("nothing yet")
	l.sent.Store(0)
	l.asks.Store(g)
	reset := l.p.ResetAfter(bytes)
	o := l.n.run(l.app, g, e)
	reset.Cancel()
	was := reset.Happened()
	if err := l.n.inspect(e, &o); err != nil {
		return false, err
	}
	errs := l.app.TakeErrors()
	if err := errorsOf(e, o, errs); err != nil {
		return false, err
	}
	sent := int(l.sent.Load())
	switch {
	case o.status == http.StatusOK:
	case !was || !e.mayFail && !strings.Contains(errs[0].Error(), "is not known"):
		return false, fmt.Errorf("status %d: %v", o.status, errs)
	}
	switch {
	case sent > 2 || e.writes && sent == 0 && o.status == http.StatusOK || e.writes && !was && sent > 1:
		return false, fmt.Errorf("status %d %v, reset: %t: the change was sent %d times", o.status, errs, was, sent)
	}
	if o.status != http.StatusOK && e.mayFail {
		l.failed++
	} else if o.status != http.StatusOK {
		l.unknown++
	}
	if sent == 2 {
		l.twice++
	}
	if was {
		l.resets++
	}
	return !was, nil
}
