package faults

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/testing/tcpproxy"
)

// TestLostReply loses each answer of the server to each kind of request once, after the server has
// done what it was asked. Without another request meanwhile, all but the taking of a flash
// succeeds, as if nothing had happened. With one, which writes to the same session after the
// lost write, neither is the other one's change undone nor is ours made twice.
func TestLostReply(t *testing.T) {
	each(t, subject.remote, func(t *testing.T, s subject) {
		n := newNetwork(t, s)
		jobs := make(chan func(*losing) error, 1000)
		for range rounds(1, 3) {
			for _, e := range errands {
				for _, contended := range []bool{false, true} {
					jobs <- func(l *losing) error { return l.loseEach(e, contended) }
				}
			}
		}
		close(jobs)
		all := make([]*losing, rounds(2, 8))
		var wg sync.WaitGroup
		for i := range all {
			l := &losing{n: n}
			all[i] = l
			through, p := s.behind(t, n.server)
			l.app, l.p = n.open(t, through), p
			wg.Go(func() {
				for job := range jobs {
					if l.err = job(l); l.err != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		lost, contended, doubtful := 0, 0, 0
		for _, l := range all {
			require.NoError(t, l.err)
			lost, contended, doubtful = lost+l.lost, contended+l.contended, doubtful+l.doubtful
		}
		require.Positive(t, contended)
		figure(t, "%d answers lost, %d of them with another write meanwhile; %d requests said 500, as nobody could know the outcome; nothing made twice, nothing undone, 0 times both IDs alive",
			lost, contended, doubtful)
	})
}

// losing is an instance of the app that loses answers, and has one request at a time.
type losing struct {
	n   *network
	app *app
	p   *tcpproxy.Proxy

	lost, contended, doubtful int
	err                       error
}

// loseEach runs an errand once for each answer that it gets, without that answer. If it is
// contended, another request writes meanwhile.
func (l *losing) loseEach(e errand, contended bool) error {
	const most = 30
	for answers := range most {
		more, err := l.lose(e, contended, answers)
		if err != nil {
			return fmt.Errorf("%s, answer %d lost, contended: %t: %w", e, answers, contended, err)
		}
		if !more {
			return nil
		}
	}
	return fmt.Errorf("%s: there is no end of answers", e)
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
	happened := l.p.LoseAfter(answers, func() {
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
	was = happened() || o.other.applied
	l.p.LoseAfter(-1, nil)
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
		l.lost++
	}
	if o.other.applied {
		l.contended++
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
