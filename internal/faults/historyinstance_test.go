//go:build unix

package faults

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/history"
	"github.com/flamego/session/internal/testing/child"
	"github.com/flamego/session/internal/testing/webapp"
)

// job is a step that a client of a history takes in one of the processes.
type job struct {
	Client, N  int
	Kind       string
	ID         string // of the session, or "" for none
	Owner      string
	Deeds      []history.Deed
	Wait       time.Duration // before its changes are saved, so that others save theirs meanwhile
	Disruption string        // of a request: panics, cancelledBefore, cancelled
}

// result is what came of a job.
type result struct {
	Step     *history.Step // nil if there is nothing to be recorded
	NewID    string        // that of the cookie
	Expired  bool          // the cookie was expired
	Problem  string
	Recorded bool
}

// message is a job on its way to another process, or its result.
type message struct {
	N      int
	Job    *job
	Result *result
}

// Kinds of jobs beside those of package history, a deed, and the disruptions.
const (
	destroyByStore = "Store.Destroy"
	touchByStore   = "Store.Touch"
	gcByStore      = "Store.GC"
	endOwned       = "EndOwned"
	endOthers      = "end others"

	panics          = "panic"
	cancelledBefore = "cancelled before"
	cancelled       = "cancelled"
)

// instance is an app in one of the processes.
type instance interface{ do(job) result }

// local is an instance in this process.
type local struct{ client history.Client }

func openInstance(t testing.TB, opts session.Options, clock func() int64) *local {
	t.Helper()
	a := webapp.New(t, opts)
	return &local{history.Client{App: history.NewApp(a.Manager), Store: a.Store(), Tick: clock, Faulty: true}}
}

func (l *local) do(e job) (r result) {
	c := l.client
	c.Owner = e.Owner
	c.Pause = func() { time.Sleep(e.Wait) }
	r.Step = c.Begin(e.Client, e.N, e.Kind, e.ID)
	s, ctx := r.Step, context.Background()
	switch e.Kind {
	case history.Request:
		var cookie *http.Cookie
		if cookie, r.Problem = l.visit(&c, e, s); cookie != nil {
			r.NewID, r.Expired = cookie.Value, cookie.MaxAge < 0
		}
	case history.Save:
		var recorded bool
		recorded, r.Problem = c.Save(ctx, s, false, func(sess session.Session) {
			for _, d := range e.Deeds {
				if err := s.Do(d, nil, nil, sess); err != nil {
					r.Problem = err.Error()
				}
			}
		})
		if !recorded {
			r.Step = nil
		}
	default:
		s.ID, s.Read, s.Commit = s.Sent, s.Begin, s.Begin
		var err error
		switch e.Kind {
		case destroyByStore:
			s.Ended = true
			err = c.Store.Destroy(ctx, e.ID)
		case touchByStore:
			err = c.Store.Touch(ctx, e.ID)
		case gcByStore:
			err = c.Store.GC(ctx)
		case endOwned:
			s.EndsOwned = true
			_, err = session.EndOwned(ctx, c.Store, e.Owner, nil)
		}
		s.End, s.Failed = c.Tick(), err != nil
	}
	if s.Failed || s.GaveBack {
		s.End = history.Never
	}
	return r
}

func (l *local) visit(c *history.Client, e job, s *history.Step) (cookie *http.Cookie, problem string) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if s.GaveBack = e.Disruption != ""; e.Disruption == cancelledBefore {
		cancel()
	}
	return c.Visit(ctx, s, func(w http.ResponseWriter, r *http.Request, sess session.Session, _ session.Flash) {
		for _, d := range e.Deeds {
			if d.Kind == endOthers {
				s.EndsOwned, s.Commit = true, c.Tick()
				if _, err := session.EndOwned(r.Context(), c.Store, e.Owner, sess); err != nil {
					s.Failed = true
				}
				continue
			}
			if err := s.Do(d, w, r, sess); err != nil {
				panic(err)
			}
		}
		c.Pause()
		switch e.Disruption {
		case panics:
			panic(history.PanicValue)
		case cancelled:
			cancel()
		}
	})
}

// other is an instance in another process.
type other struct {
	p  *child.Process
	to *json.Encoder

	mu      sync.Mutex
	asked   int
	waiting map[int]chan result
	gone    bool
}

func startInstance(t *testing.T, place historyPlace) *other {
	t.Helper()
	text, err := json.Marshal(place)
	require.NoError(t, err)
	p := child.StartTalking(t, historyVariable+"="+string(text))
	o := &other{p: p, to: json.NewEncoder(p.In), waiting: make(map[int]chan result)}
	go o.receive()
	return o
}

// receive hands results to those who wait for them, until the process has ended.
func (o *other) receive() {
	from := json.NewDecoder(o.p.Out)
	for {
		var m message
		err := from.Decode(&m)
		o.mu.Lock()
		if err != nil {
			o.gone = true
			for _, wait := range o.waiting {
				wait <- processGone
			}
			o.mu.Unlock()
			return
		}
		o.waiting[m.N] <- *m.Result
		delete(o.waiting, m.N)
		o.mu.Unlock()
	}
}

var processGone = result{Problem: "the other process has ended"}

func (o *other) do(e job) result {
	wait := make(chan result, 1)
	o.mu.Lock()
	if o.gone {
		o.mu.Unlock()
		return processGone
	}
	o.asked++
	o.waiting[o.asked] = wait
	err := o.to.Encode(message{N: o.asked, Job: &e})
	o.mu.Unlock()
	if err != nil {
		return processGone
	}
	return <-wait
}

// end has the process end, and waits for that.
func (o *other) end() {
	o.p.In.Close()
	o.p.Wait()
}
