package faults

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/testing/tcpproxy"
)

// TestLostReply loses each answer of the server to each kind of request once, after the server has
// done what it was asked. Without another request meanwhile, all but the taking of a flash
// succeeds, as if nothing had happened. With one, which writes to the same session after the
// lost write, neither is the other one's change undone nor is ours made twice. Each kind of
// request loses at least one answer, and at least one with another write meanwhile.
// It rests on internal/commit/lost.go, which looks what became of a write before it is made again.
func TestLostReply(t *testing.T) {
	eachBeside(t, subject.remote, func(t *testing.T, s subject) {
		n := newNetwork(t, s)
		var jobs []func(*losing) error
		for range rounds(1, 2) {
			for _, e := range errands {
				for _, contended := range []bool{false, true} {
					jobs = append(jobs, func(l *losing) error { return l.loseEach(e, contended) })
				}
			}
		}
		var taken atomic.Int64 // of the jobs
		all := make([]*losing, rounds(2, 8))
		var wg sync.WaitGroup
		for i := range all {
			l := &losing{n: n, lost: make(map[string]int), contended: make(map[string]int)}
			all[i] = l
			through, p := s.behind(t, n.server)
			l.app, l.p = n.open(t, through), p
			wg.Go(func() {
				for l.err == nil {
					next := int(taken.Add(1)) - 1
					if next >= len(jobs) {
						return
					}
					l.err = jobs[next](l)
				}
			})
		}
		wg.Wait()
		lost, contended, doubtful := 0, 0, 0
		for _, l := range all {
			require.NoError(t, l.err)
			doubtful += l.doubtful
		}
		for _, e := range errands {
			ofErrand, beside := 0, 0
			for _, l := range all {
				ofErrand, beside = ofErrand+l.lost[e.String()], beside+l.contended[e.String()]
			}
			require.Positive(t, ofErrand, "no answer to %s was lost", e)
			require.Positive(t, beside, "no answer to %s was lost with another write meanwhile", e)
			lost, contended = lost+ofErrand, contended+beside
		}
		figure(t, "%d answers lost, %d of them with another write meanwhile; %d requests said 500, as nobody could know the outcome; nothing made twice, nothing undone, 0 times both IDs alive",
			lost, contended, doubtful)
	})
}

// losing is an instance of the app that loses answers, and has one request at a time.
type losing struct {
	n   *network
	app *app
	p   *tcpproxy.Proxy

	lost, contended map[string]int // lost answers by errand, and those with another write meanwhile
	doubtful        int
	err             error
}

// loseEach runs an errand once for each answer that it gets, without that answer. If it is
// contended, another request writes meanwhile.
func (l *losing) loseEach(e errand, contended bool) error {
	const most = 30
	// A connection that is new to an errand is asked to prepare statements. The answer to that is lost
	// then, and the retry leaves a connection with nothing to prepare: its answers are fewer. The
	// second time all is prepared from the start, so that each answer of the errand itself is lost.
	for range 2 {
		for answers, more := 0, true; more; answers++ {
			if answers == most {
				return fmt.Errorf("%s: there is no end of answers", e)
			}
			var err error
			if more, err = l.lose(e, contended, answers); err != nil {
				return fmt.Errorf("%s, answer %d lost, contended: %t: %w", e, answers, contended, err)
			}
		}
	}
	return nil
}

// lose runs an errand once, and reports whether there was such an answer.
func (l *losing) lose(e errand, contended bool, answers int) (was bool, err error) {
	g, err := l.n.prepare(e)
	if err != nil {
		return false, err
	}
	var mu sync.Mutex
	var other meanwhile
	over := false // so that an answer which nobody waits for any more makes no difference
	loss := l.p.LoseAfter(answers, func() {
		mu.Lock()
		defer mu.Unlock()
		if contended && !over {
			other = l.n.writeBeside(g)
		}
	})
	o := l.n.run(l.app, g, e)
	mu.Lock()
	over, o.other = true, other
	mu.Unlock()
	loss.Cancel()
	was = loss.Happened()
	if o.other.err != nil {
		return was, o.other.err
	}
	if err := l.n.inspect(e, &o); err != nil {
		return was, err
	}
	errs := l.app.TakeErrors()
	if err := errorsOf(e, o, errs); err != nil {
		return was, err
	}
	if o.status != http.StatusOK {
		l.doubtful++
		if !was || !e.mayFail && !o.other.applied {
			return was, fmt.Errorf("status %d: %v", o.status, errs)
		}
	}
	if was {
		l.lost[e.String()]++
	}
	if o.other.applied {
		l.contended[e.String()]++
	}
	return was, nil
}

// writeBeside makes another request of the session of a guest, whose last request has not been
// answered yet.
func (n *network) writeBeside(g *guest) (m meanwhile) {
	id := g.id
	if now, ok := n.ids.Load(g.token.Load()); ok {
		id = now.(string)
	}
	if m.applied = id != "" && n.fine.Store().Exist(n.Context(), id); !m.applied {
		return m
	}
	v := n.fine.with(n, id)
	m.token = n.newToken()
	status, body := v.visit("/errand/other?token=" + m.token)
	n.ids.Delete(m.token)
	if m.flash = body; status != http.StatusOK {
		m.err = fmt.Errorf("the other request: status %d: %s", status, body)
	}
	return m
}
