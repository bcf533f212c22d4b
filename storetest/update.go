package storetest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// updateRules are about session.Update.
var updateRules = slices.Concat(overlapRules("update/", updates), []rule{
	{
		name:  "update/counters",
		text:  "64 goroutines that count 20 times each in one session, through two stores on the same storage too, count to 1,280.",
		check: func(e *env) { e.countIn(e.loggedIn().sid, 64, 20, 3*patience) },
	},
	{
		name: "update/beside others",
		text: "Every Update counts beside requests that set and delete other keys and leave flashes, and those are kept as well.",
		check: func(e *env) {
			stop := make(chan struct{})
			var ended sync.WaitGroup
			v := e.loggedIn()
			for i, by := range []*env{e, e.beside()} {
				app := by.app()
				ended.Go(func() { e.changeOthers(app, v.sid, fmt.Sprint("other", i), stop) })
			}
			e.countIn(v.sid, 16, 10, patience)
			close(stop)
			ended.Wait()
			e.want(v.sid, "user", 123, "other0", "kept", "other1", "kept", "other0 deleted", nil, "other1 deleted", nil)
		},
	},
	{
		name: "update/beside renewals",
		text: "A count goes on under the new ID: what a request was told is saved counts there once, and what came too late under the old ID does not.",
		check: func(e *env) {
			played := 0
			for range rounds(20, patience/2) {
				e.countBesideRenewals()
				played++
			}
			e.Logf("%d rounds", played)
		},
	},
	{
		name: "update/panic",
		text: "An Update whose function panics at once changes nothing, and what the request does before and after is saved.",
		check: func(e *env) {
			v := e.loggedIn()
			v.do(func(s session.Session) {
				session.Update(s, "n", func(int) int { return 1 })
				before := s.HasChanged()
				func() {
					defer func() {
						if recover() != "spoiled" {
							e.Error("the panic does not reach the caller")
						}
					}()
					session.Update(s, "n", func(int) int { panic("spoiled") })
				}()
				if !before || s.Get("n") != 1 {
					e.Errorf("after the panic the value is %v", s.Get("n"))
				}
				session.Update(s, "n", func(n int) int { return n + 1 })
			})
			e.want(v.sid, "n", 2, "user", 123)
			s := e.read(v.sid)
			func() {
				defer func() { _ = recover() }()
				session.Update(s, "n", func(int) int { panic("spoiled") })
			}()
			if s.HasChanged() {
				e.Error("after the panic there is something to save")
			}
		},
	},
	{
		name: "update/panic when saved",
		text: "An Update whose function panics on what another request has saved fails the save with an error, also that of a request, and the session stays as it is stored; a save after that can succeed.",
		ours: true,
		check: func(e *env) {
			e.failsWhenSaved(func() { panic("spoiled") })
		},
	},
	{
		name:    "update/slow when saved",
		text:    "An Update whose function takes longer than Options.Timeout on what another request has saved fails the save with an error, and the session stays as it is stored.",
		ours:    true,
		waits:   true,
		options: func(o *session.Options) { o.Timeout = time.Second },
		check: func(e *env) {
			e.failsWhenSaved(func() { time.Sleep(1100 * time.Millisecond) })
		},
	},
	{
		name: "update/cannot be encoded",
		text: "An Update that returns what cannot be encoded fails its own save with an error. Those of requests at the same time count.",
		not:  []Trait{Live},
		check: func(e *env) {
			type unregistered struct{ N int }
			v := e.loggedIn()
			var bad sync.WaitGroup
			for _, by := range []*env{e, e.beside()} {
				app := by.app()
				bad.Go(func() {
					for range 10 {
						w := serve(context.Background(), app, v.sid, func(_ http.ResponseWriter, _ *http.Request, s session.Session, _ session.Flash) {
							session.Update(s, "bad", func(unregistered) unregistered { return unregistered{1} })
							session.Update(s, "n", func(n int) int { return n + 1_000_000 })
						})
						if w.Code != http.StatusInternalServerError {
							e.Errorf("status %d", w.Code)
						}
					}
				})
			}
			e.countIn(v.sid, 8, 10, patience)
			bad.Wait()
			e.want(v.sid, "user", 123, "bad", nil)
		},
	},
})

// updates are requests of which the second one computes, as it is saved after the first one.
var updates = []overlap{
	{
		name:   "twice",
		text:   "Of two requests that count from the same value both count.",
		stored: []interface{}{"n", 1},
		a:      increment,
		b:      increment,
		want:   []interface{}{"n", 3},
	},
	{
		name: "first save",
		text: "Of two requests that count in a session that is not stored yet both count.",
		a:    increment,
		b:    increment,
		want: []interface{}{"n", 2},
	},
	{
		name:   "order",
		text:   "The functions of a request run in their order, the first one on what was saved meanwhile.",
		stored: []interface{}{"n", 1, "words", "a"},
		a: func(s session.Session) {
			s.Set("n", 10)
			session.Update(s, "words", func(w string) string { return w + "b" })
		},
		b: func(s session.Session) {
			increment(s)
			session.Update(s, "n", func(n int) int { return n * 2 })
			session.Update(s, "words", func(w string) string { return w + "c" })
			session.Update(s, "n", func(n int) int { return n + 3 })
		},
		want: []interface{}{"n", 25, "words", "abc"},
	},
	{
		name:   "after set",
		text:   "What a request computes from a value that it has set itself does not depend on others.",
		stored: []interface{}{"n", 1},
		a:      func(s session.Session) { s.Set("n", 100) },
		b:      func(s session.Session) { s.Set("n", 10); increment(s); increment(s) },
		want:   []interface{}{"n", 12},
	},
	{
		name:   "after delete",
		text:   "After a Delete of the same request a count begins anew.",
		stored: []interface{}{"n", 5},
		a:      increment,
		b:      func(s session.Session) { s.Delete("n"); increment(s) },
		want:   []interface{}{"n", 1},
	},
	{
		name:   "after flush",
		text:   "After a Flush of the same request a count begins anew.",
		stored: []interface{}{"n", 5, "key", 1},
		a:      func(s session.Session) { increment(s); s.Set("a", 1) },
		b:      func(s session.Session) { increment(s); s.Flush(); increment(s) },
		want:   []interface{}{"n", 1, "key", nil, "a", nil},
	},
	{
		name:   "before set",
		text:   "A Set after an Update of the same request counts, and so does a Delete.",
		stored: []interface{}{"n", 5, "m", 5},
		a:      func(s session.Session) { increment(s); s.Set("m", 6) },
		b: func(s session.Session) {
			increment(s)
			s.Set("n", 9)
			session.Update(s, "m", func(m int) int { return m + 1 })
			s.Delete("m")
		},
		want: []interface{}{"n", 9, "m", nil},
	},
	{
		name:   "beside delete",
		text:   "A count goes on from nothing where another request has deleted it or flushed the session.",
		stored: []interface{}{"n", 5, "key", 1},
		a:      func(s session.Session) { s.Flush() },
		b:      increment,
		want:   []interface{}{"n", 1, "key", nil},
	},
	{
		name:   "type",
		text:   "A function gets the zero value where another request has set a value of another type.",
		stored: []interface{}{"n", 5, "m", "text"},
		a:      func(s session.Session) { s.Set("n", "text") },
		b: func(s session.Session) {
			increment(s)
			session.Update(s, "m", func(m int) int { return m + 1 })
		},
		want: []interface{}{"n", 1, "m", 1},
	},
	{
		name:   "beside other keys",
		text:   "A count and a change of another key do not undo each other.",
		stored: []interface{}{"n", 1, "doomed", 1},
		a:      func(s session.Session) { s.Set("a", 1); s.Delete("doomed") },
		b:      func(s session.Session) { increment(s); s.Set("b", 2) },
		want:   []interface{}{"n", 2, "a", 1, "b", 2, "doomed", nil},
	},
}

func increment(s session.Session) {
	session.Update(s, "n", func(n int) int { return n + 1 })
}

// countIn has goroutines count in a session, half of them through another store, and checks the
// sum. Where that takes longer than the limit, they count to less.
func (e *env) countIn(sid string, goroutines, times int, limit time.Duration) {
	e.Helper()
	apps := []*flamego.Flame{e.app(), e.beside().app()}
	var done atomic.Int64
	var ended sync.WaitGroup
	for i := range goroutines {
		ended.Go(func() {
			for range rounds(times, limit) {
				w := serve(context.Background(), apps[i%2], sid, func(_ http.ResponseWriter, _ *http.Request, s session.Session, _ session.Flash) {
					increment(s)
				})
				if w.Code != http.StatusOK {
					e.Errorf("status %d", w.Code)
					return
				}
				done.Add(1)
			}
		})
	}
	ended.Wait()
	e.want(sid, "n", int(done.Load()))
	e.Logf("%d requests have counted", done.Load())
}

// changeOthers changes other keys of a session than countIn.
func (e *env) changeOthers(app http.Handler, sid, key string, stop <-chan struct{}) {
	e.Helper()
	change := func(f func(s session.Session)) {
		w := serve(context.Background(), app, sid, func(_ http.ResponseWriter, _ *http.Request, s session.Session, _ session.Flash) { f(s) })
		if w.Code != http.StatusOK {
			e.Errorf("status %d", w.Code)
		}
	}
	for {
		change(func(s session.Session) { s.Set(key, "for now"); s.Set(key+" deleted", 1) })
		change(func(s session.Session) { s.SetFlash("hello") })
		change(func(s session.Session) { s.Set(key, "kept"); s.Delete(key + " deleted") })
		select {
		case <-stop:
			return
		default:
		}
	}
}

// countBesideRenewals has some goroutines count in a session that gets new IDs meanwhile. A
// request that was told that its session is no more has not counted: then the session still
// has changes that are not saved, or it has lost them.
func (e *env) countBesideRenewals() {
	e.Helper()
	apps := []*flamego.Flame{e.app(), e.beside().app()}
	var current atomic.Value
	current.Store(e.loggedIn().sid)
	var counted atomic.Int64
	count := func(app http.Handler, renews bool) {
		sid := current.Load().(string)
		var sess session.Session
		joined := false
		w := serve(context.Background(), app, sid, func(w http.ResponseWriter, r *http.Request, s session.Session, _ session.Flash) {
			if joined = s.ID() == sid && s.Get("user") != nil; !joined {
				return
			}
			increment(s)
			if renews {
				renew(s, w, r)
			}
			sess = s
		})
		if w.Code != http.StatusOK {
			e.Errorf("status %d", w.Code)
		}
		if !joined || sess.HasChanged() || sess.Get("n") == nil {
			return
		}
		counted.Add(1)
		if renews {
			current.Store(w.Result().Cookies()[0].Value)
		}
	}
	var ended sync.WaitGroup
	for i := range 6 {
		ended.Go(func() {
			for range 5 {
				count(apps[i%2], false)
			}
		})
	}
	ended.Go(func() {
		for i := range 4 {
			count(apps[i%2], true)
		}
	})
	ended.Wait()
	e.want(current.Load().(string), "user", 123, "n", int(counted.Load()))
}

// failsWhenSaved checks that a save fails if a function of Update is spoiled as it runs once
// more.
func (e *env) failsWhenSaved(spoil func()) {
	e.Helper()
	var told atomic.Value
	e = e.with(func(o *session.Options) { o.ErrorFunc = func(err error) { told.Store(err.Error()) } })
	other := e.beside()
	// beginning returns a function that lets another request be faster as it runs for the
	// first time, and is spoiled after that for as long as spoiled says.
	beginning := func(sid string, spoiled *atomic.Bool) func(int) int {
		var calls atomic.Int32
		return func(n int) int {
			if calls.Add(1) == 1 {
				other.set(sid, "n", 100, "theirs", true)
			} else if spoiled.Load() {
				spoil()
			}
			return n + 1
		}
	}
	var spoiled atomic.Bool
	spoiled.Store(true)

	// A request.
	v := e.loggedIn()
	w := serve(context.Background(), e.app(), v.sid, func(_ http.ResponseWriter, _ *http.Request, s session.Session, _ session.Flash) {
		s.Set("mine", true)
		session.Update(s, "n", beginning(v.sid, &spoiled))
	})
	if w.Code != http.StatusInternalServerError {
		e.Errorf("the status is %d", w.Code)
	}
	if text, _ := told.Load().(string); !strings.Contains(text, "Update") {
		e.Errorf("the error does not say that it was an Update: %q", text)
	}
	e.want(v.sid, "user", 123, "n", 100, "theirs", true, "mine", nil)
	v.do(increment)
	e.want(v.sid, "n", 101)

	// A save by hand.
	e.set("session1", "n", 1)
	s := e.read("session1")
	s.Set("mine", true)
	session.Update(s, "n", beginning("session1", &spoiled))
	if err := e.store.Save(e.context(), s); err == nil || !strings.Contains(err.Error(), "Update") {
		e.Errorf("Save returns the error %v", err)
	}
	if !s.HasChanged() {
		e.Error("after a save that failed the session has not changed")
	}
	e.want("session1", "n", 100, "theirs", true, "mine", nil)
	spoiled.Store(false)
	e.save(s)
	e.want("session1", "n", 101, "theirs", true, "mine", true)
}
