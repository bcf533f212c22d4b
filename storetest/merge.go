package storetest

import (
	"fmt"
	"sync"

	"github.com/flamego/session"
)

var mergeRules = []rule{
	{
		name: "merge/different keys",
		text: "Of two requests that read a session and then set different keys, neither undoes the other.",
		check: func(e *env) {
			store := e.store(long)
			e.set(store, "session1", "key", 0, "kept", true)
			a, b := e.read(store, "session1"), e.read(store, "session1")
			a.Set("a", 1)
			b.Set("b", 2)
			e.save(store, a)
			e.save(store, b)
			e.want(store, "session1", "a", 1, "b", 2, "kept", true)
		},
	},
	{
		name: "merge/same key",
		text: "A key that two requests set has the value of the one that was saved last.",
		check: func(e *env) {
			store := e.store(long)
			e.set(store, "session1", "key", 0)
			a, b := e.read(store, "session1"), e.read(store, "session1")
			a.Set("key", "a")
			b.Set("key", "b")
			e.save(store, b)
			e.save(store, a)
			e.want(store, "session1", "key", "a")
		},
	},
	{
		name: "merge/delete beside set",
		text: "A deleted key stays deleted beside a request that sets another, and the set key stays.",
		check: func(e *env) {
			store := e.store(long)
			e.set(store, "session1", "doomed", 1, "kept", 2)
			a, b := e.read(store, "session1"), e.read(store, "session1")
			a.Delete("doomed")
			b.Set("b", 3)
			e.save(store, a)
			e.save(store, b)
			e.want(store, "session1", "doomed", nil, "kept", 2, "b", 3)
		},
	},
	{
		name: "merge/flush beside set",
		text: "A flush removes what others have set before it is saved, and keeps what its own request sets after it.",
		check: func(e *env) {
			store := e.store(long)
			e.set(store, "session1", "key", 1)
			a, b := e.read(store, "session1"), e.read(store, "session1")
			a.Flush()
			a.Set("a", 2)
			b.Set("b", 3)
			e.save(store, b)
			e.save(store, a)
			e.want(store, "session1", "key", nil, "b", nil, "a", 2)
		},
	},
	{
		name: "merge/set beside flush",
		text: "A key set beside a flush that was saved first is all there is.",
		check: func(e *env) {
			store := e.store(long)
			e.set(store, "session1", "key", 1)
			a, b := e.read(store, "session1"), e.read(store, "session1")
			a.Flush()
			b.Set("b", 3)
			e.save(store, a)
			e.save(store, b)
			e.want(store, "session1", "key", nil, "b", 3)
		},
	},
	{
		name: "merge/first save",
		text: "Two requests that both save a session for the first time both keep what they set.",
		check: func(e *env) {
			store := e.store(long)
			a, b := e.read(store, "session1"), e.read(store, "session1")
			a.Set("a", 1)
			b.Set("b", 2)
			e.save(store, a)
			e.save(store, b)
			e.want(store, "session1", "a", 1, "b", 2)
		},
	},
	{
		name: "merge/seen after saving",
		text: "After a save the session shows what others saved too, and saving it again does not undo that.",
		check: func(e *env) {
			store := e.store(long)
			e.set(store, "session1", "key", 0)
			a, b := e.read(store, "session1"), e.read(store, "session1")
			a.Set("a", 1)
			e.save(store, a)
			b.Set("b", 2)
			e.save(store, b)
			if got := b.Get("a"); got != 1 {
				e.Errorf("the key of the other request is %v after the save", got)
			}
			b.Set("b", 3)
			e.save(store, b)
			e.want(store, "session1", "a", 1, "b", 3)
		},
	},
	{
		name: "merge/in parallel",
		text: "64 requests that overlap and set 64 keys leave 64 keys.",
		check: func(e *env) {
			store := e.store(long)
			e.overlap(store, store)
		},
	},
	{
		name: "merge/in parallel, two stores",
		text: "64 requests that overlap and set 64 keys leave 64 keys, through two stores on the same storage too.",
		not:  []Trait{Private},
		check: func(e *env) {
			opts := e.open(e, long)
			e.overlap(e.manager(opts).Store(), e.manager(opts).Store())
		},
	},
	{
		name: "merge/whole session",
		text: "A session that was made by hand, or read from another store, replaces what is stored.",
		check: func(e *env) {
			store, other := e.store(long), e.store(long)
			e.set(store, "session1", "old", 1)
			e.save(store, session.NewBaseSessionWithData("session1", session.GobEncoder, nil, session.Data{"new": 2}))
			e.want(store, "session1", "old", nil, "new", 2)

			e.set(other, "session1", "theirs", 3)
			e.save(store, e.read(other, "session1"))
			e.want(store, "session1", "new", nil, "theirs", 3)
			e.save(store, foreign{e.read(other, "session1"), "session2"})
			e.want(store, "session2", "theirs", 3)
		},
	},
}

// foreign is a session of another make: all it has is the interface.
type foreign struct {
	session.Session
	sid string
}

func (f foreign) ID() string { return f.sid }

// overlap has 64 sessions read before the first one is saved, half of them from
// each store.
func (e *env) overlap(a, b session.Store) {
	e.Helper()
	const n = 64
	e.set(a, "session1", "key", "value")
	var saves []func() error
	for i := range n {
		store := a
		if i%2 == 1 {
			store = b
		}
		s := e.read(store, "session1")
		s.Set(fmt.Sprintf("key%d", i), i)
		saves = append(saves, func() error { return store.Save(e.context(), s) })
	}
	e.together(saves...)

	s := e.read(a, "session1")
	lost := 0
	for i := range n {
		if s.Get(fmt.Sprintf("key%d", i)) != i {
			lost++
		}
	}
	if lost > 0 {
		e.Errorf("%d of %d keys are lost", lost, n)
	}
	if s.Get("key") != "value" {
		e.Error("a key that nobody changed is lost")
	}
}

// together runs functions at the same time.
func (e *env) together(fs ...func() error) {
	e.Helper()
	start := make(chan struct{})
	errs := make([]error, len(fs))
	var wg sync.WaitGroup
	for i, f := range fs {
		wg.Go(func() {
			<-start
			errs[i] = f()
		})
	}
	close(start)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			e.Error(err)
		}
	}
}
