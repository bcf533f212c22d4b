package storetest

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/flamego/session"
)

var loadRules = []rule{
	{
		name: "load/overlapping requests",
		text: "64 requests that overlap and set 64 keys leave 64 keys, of a session that is stored and of one that is not yet.",
		check: func(e *env) {
			stored := e.loggedIn()
			e.overlapping(stored, 64)
			e.want(stored.sid, "user", 123)
			e.overlapping(e.visitor().do(func(session.Session) {}), 64)
		},
	},
	{
		name: "load/many requests",
		text: "Of many requests on one session all succeed, and every key is kept.",
		check: func(e *env) {
			if full {
				e.manyRequests(10_000, 32, patience)
				return
			}
			e.manyRequests(512, 32, patience)
		},
	},
	{
		name: "load/nobody waits",
		text: "A handler that takes its time delays no other request of its session.",
		check: func(e *env) {
			v := e.loggedIn()
			begun, finish, slow := make(chan struct{}), make(chan struct{}), make(chan struct{})
			go func() {
				defer close(slow)
				v.copy().do(func(s session.Session) {
					s.Set("slow", 1)
					close(begun)
					<-finish
					s.Set("slower", 2)
				})
			}()
			<-begun
			quick := make(chan struct{})
			go func() {
				defer close(quick)
				v.copy().do(func(s session.Session) { s.Set("quick", 3) })
				e.want(v.sid, "quick", 3, "slow", nil)
			}()
			select {
			case <-quick:
			case <-time.After(10 * time.Second):
				e.Error("a request waits for the handler of another")
			}
			close(finish)
			<-slow
			<-quick
			e.want(v.sid, "user", 123, "slow", 1, "slower", 2, "quick", 3)
		},
	},
	{
		name: "load/hang-ups",
		text: "Among many visitors whose browsers hang up at any moment each sees its own data, and of each request all or nothing.",
		check: func(e *env) {
			visitors, requests := 20, 10
			if full {
				visitors, requests = 200, 50
			}
			e.hangUps(visitors, requests)
		},
	},
	{
		name: "load/destroy beside touch",
		text: "However Destroy and Touch fall together, the session is gone.",
		check: func(e *env) {
			for round := range rounds(200, patience) {
				sid := fmt.Sprintf("session%d", round)
				touch := func() error { return e.store.Touch(e.context(), sid) }
				destroy := func() error { return e.store.Destroy(e.context(), sid) }
				e.set(sid, "key", 1)
				e.together(touch, destroy, touch)
				e.wantExist(sid, false)
			}
		},
	},
	{
		name: "load/renewal beside save",
		text: "However RegenerateID and a save of another request fall together, the data is under the new ID and nothing under the old one; the save is in it all, or its visitor is told that the session is gone.",
		check: func(e *env) {
			played := 0
			for range rounds(200, patience) {
				e.renewalBesideSave()
				played++
			}
			e.Logf("%d rounds", played)
		},
	},
	{
		name: "load/one hang-up",
		text: "A client that hangs up, at whatever moment, leaves a request that is committed or one that never was, and the next one works.",
		check: func(e *env) {
			v := e.loggedIn()
			for point := range 20 {
				e.hangUpAt(v, point)
			}
			e.want(v.sid, "user", 123)
		},
	},
}

// full makes the rules "load/..." play all their rounds, however slow the server:
//
//	STORETEST_FULL=1 go test -race -run Conformance -timeout 30m ./...
var full = os.Getenv("STORETEST_FULL") != ""

// patience is how long a rule does the same again and again on a slow server.
var patience = 2 * time.Second

func init() {
	if full {
		patience = 10 * time.Minute
	}
}

// rounds counts to n, but not for longer than the limit.
func rounds(n int, limit time.Duration) iter.Seq[int] {
	return func(yield func(int) bool) {
		begin := time.Now()
		for i := range n {
			if time.Since(begin) > limit || !yield(i) {
				return
			}
		}
	}
}

// barrier returns a function that waits until it has been called n times.
func barrier(n int) (wait func()) {
	var all sync.WaitGroup
	all.Add(n)
	return func() {
		all.Done()
		all.Wait()
	}
}

// overlapping makes n requests that have all begun before one of them ends.
func (e *env) overlapping(v *visitor, n int) {
	e.Helper()
	wait := barrier(n)
	var ended sync.WaitGroup
	for i := range n {
		ended.Go(func() {
			here := sync.OnceFunc(wait)
			defer here() // also when the request fails before its handler
			v.copy().do(func(s session.Session) {
				s.Set(i, true)
				here()
			})
		})
	}
	ended.Wait()
	s := e.read(v.sid)
	lost := 0
	for i := range n {
		if s.Get(i) != true {
			lost++
		}
	}
	if lost > 0 {
		e.Errorf("%d of %d keys are lost", lost, n)
	}
}

// manyRequests makes n requests on one session, by some workers at once. Each
// worker has a key, and must find in it what it set there last.
func (e *env) manyRequests(n, workers int, limit time.Duration) {
	e.Helper()
	v, app := e.loggedIn(), e.app()
	want := make([]int, workers)
	var ended sync.WaitGroup
	for i := range workers {
		ended.Go(func() {
			for last := range rounds(n/workers, limit) {
				w := serve(context.Background(), app, v.sid, func(_ http.ResponseWriter, _ *http.Request, s session.Session, _ session.Flash) {
					if last > 0 && s.Get(i) != last-1 || s.Get("user") != 123 {
						e.Errorf("request %d of worker %d: its key is %v", last, i, s.Get(i))
					}
					s.Set(i, last)
				})
				want[i] = last
				if w.Code != http.StatusOK {
					e.Errorf("request %d of worker %d: status %d", last, i, w.Code)
				}
			}
		})
	}
	ended.Wait()
	total := 0
	for i, last := range want {
		e.want(v.sid, i, last)
		total += last + 1
	}
	e.Logf("%d requests", total)
}

// hangUps makes requests of many visitors, a third of which end early. A request
// sets the number of its visitor and, twice, its own.
func (e *env) hangUps(visitors, requests int) {
	e.Helper()
	app := e.app()
	var ended sync.WaitGroup
	for i := range visitors {
		v := e.visitor().do(func(s session.Session) { s.Set("visitor", i) })
		sid := v.sid
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		ended.Go(func() {
			for n := range requests {
				ctx, cancel := context.WithCancel(context.Background())
				after := time.Duration(-1)
				if rng.IntN(3) == 0 {
					after = time.Duration(rng.IntN(1000)) * time.Microsecond
				}
				if after >= 0 {
					time.AfterFunc(after, cancel)
				}
				serve(ctx, app, sid, func(_ http.ResponseWriter, _ *http.Request, s session.Session, _ session.Flash) {
					if s.ID() != sid || s.Get("visitor") != i {
						e.Errorf("visitor %d sees visitor %v", i, s.Get("visitor"))
					}
					if s.Get("a") != s.Get("b") {
						e.Error("half a request was committed")
					}
					s.Set("a", n)
					if after >= 0 {
						<-ctx.Done()
					}
					s.Set("b", n)
				})
				cancel()
			}
		})
	}
	ended.Wait()
}

// renewalBesideSave has two requests that overlap: one gives the session a new
// ID, the other sets a key.
func (e *env) renewalBesideSave() {
	e.Helper()
	v := e.loggedIn()
	old, renewed, saved := v.sid, v.copy(), v.copy()
	renewed.setCookies, saved.setCookies = nil, nil
	wait := barrier(2)
	var ended sync.WaitGroup
	ended.Go(func() {
		here := sync.OnceFunc(wait)
		defer here()
		renewed.do(func(s session.Session, w http.ResponseWriter, r *http.Request) {
			s.Set("renewed", 1)
			e.check(s.RegenerateID(w, r))
			here()
		})
	})
	ended.Go(func() {
		here := sync.OnceFunc(wait)
		defer here()
		saved.do(func(s session.Session) {
			s.Set("a", 1)
			s.Set("b", 2)
			here()
		})
	})
	ended.Wait()

	e.wantExist(old, false)
	pairs := []interface{}{"user", 123, "renewed", 1, "a", 1, "b", 2}
	if len(saved.setCookies) > 0 {
		e.Error("a cookie was sent beside the new ID")
	}
	if e.read(renewed.cookie.Value).Get("a") == nil {
		pairs[5], pairs[7] = nil, nil
	}
	e.want(renewed.cookie.Value, pairs...)
}

// hangUpAt makes a request whose client hangs up at one of many points: before
// it is served, in the handler, or while it is committed.
func (e *env) hangUpAt(v *visitor, point int) {
	e.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	hangUp := func(here int) {
		if here == point {
			cancel()
		}
	}
	begun := false
	hangUp(0)
	serve(ctx, e.app(), v.sid, func(_ http.ResponseWriter, _ *http.Request, s session.Session, _ session.Flash) {
		begun = true
		for i := range 8 {
			hangUp(1 + i)
			s.Set(i, point)
		}
		hangUp(9)
		if point > 9 {
			time.AfterFunc(time.Duration(point-10)*50*time.Microsecond, cancel)
		}
	})
	s := e.read(v.sid)
	for i := range 8 {
		if got := s.Get(i) == point; got != begun {
			e.Errorf("point %d: the handler has run: %t, key %d is kept: %t", point, begun, i, got)
		}
	}
}
