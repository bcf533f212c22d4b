package storetest

import (
	"fmt"
	"slices"
	"sync"

	"github.com/flamego/session"
)

// overlap is a session, two requests that read it before either is saved, what
// they do to it, and what must be left when first a and then b has been saved.
type overlap struct {
	name, text string
	stored     []interface{} // pairs of keys and values, nothing for a session that is new
	a, b       func(s session.Session)
	want       []interface{}
}

var overlaps = []overlap{
	{
		name:   "different keys",
		text:   "Of two requests that read a session and then set different keys, neither undoes the other.",
		stored: []interface{}{"kept", true},
		a:      func(s session.Session) { s.Set("a", 1) },
		b:      func(s session.Session) { s.Set("b", 2) },
		want:   []interface{}{"a", 1, "b", 2, "kept", true},
	},
	{
		name:   "same key",
		text:   "A key that two requests set has the value of the one that was saved last.",
		stored: []interface{}{"key", 0},
		a:      func(s session.Session) { s.Set("key", "a") },
		b:      func(s session.Session) { s.Set("key", "b") },
		want:   []interface{}{"key", "b"},
	},
	{
		name:   "set beside delete",
		text:   "A deleted key stays deleted beside a request that sets another, and the set key stays.",
		stored: []interface{}{"doomed", 1, "kept", 2},
		a:      func(s session.Session) { s.Delete("doomed") },
		b:      func(s session.Session) { s.Set("b", 3) },
		want:   []interface{}{"doomed", nil, "kept", 2, "b", 3},
	},
	{
		name:   "delete beside set",
		text:   "A key that is deleted beside a request that set another is gone, and the set key stays.",
		stored: []interface{}{"doomed", 1, "kept", 2},
		a:      func(s session.Session) { s.Set("a", 3) },
		b:      func(s session.Session) { s.Delete("doomed") },
		want:   []interface{}{"doomed", nil, "kept", 2, "a", 3},
	},
	{
		name:   "flush beside set",
		text:   "A flush removes what others have saved before it, and keeps what its own request sets after it.",
		stored: []interface{}{"key", 1},
		a:      func(s session.Session) { s.Set("a", 2) },
		b:      func(s session.Session) { s.Flush(); s.Set("b", 3) },
		want:   []interface{}{"key", nil, "a", nil, "b", 3},
	},
	{
		name:   "set beside flush",
		text:   "A key set beside a flush that was saved first is all there is.",
		stored: []interface{}{"key", 1},
		a:      func(s session.Session) { s.Flush() },
		b:      func(s session.Session) { s.Set("b", 3) },
		want:   []interface{}{"key", nil, "b", 3},
	},
	{
		name: "first save",
		text: "Two requests that both save a session for the first time both keep what they set.",
		a:    func(s session.Session) { s.Set("a", 1) },
		b:    func(s session.Session) { s.Set("b", 2) },
		want: []interface{}{"a", 1, "b", 2},
	},
	{
		name:   "unchanged beside set",
		text:   "To save a session unchanged does not undo what others set.",
		stored: []interface{}{"key", 1},
		a:      func(s session.Session) { s.Set("key", 2) },
		b:      func(session.Session) {},
		want:   []interface{}{"key", 2},
	},
}

// rules are two: for requests through one store, and, as processes that share a
// storage know nothing of each other, through two.
func (o overlap) rules(family string) []rule {
	return []rule{
		{name: family + o.name, text: o.text, check: func(e *env) { o.play(e, e) }},
		{
			name:  family + o.name + ", two stores",
			text:  o.text,
			not:   []Trait{Private},
			check: func(e *env) { o.play(e, e.another()) },
		},
	}
}

func (o overlap) play(e, other *env) {
	if o.stored != nil {
		e.set("session1", o.stored...)
	}
	a, b := e.read("session1"), other.read("session1")
	o.a(a)
	o.b(b)
	e.save(a)
	other.save(b)
	e.want("session1", o.want...)
	// What a request sees after its save is what the store has, so that saving
	// once more undoes nothing.
	b.Set("again", true)
	other.save(b)
	e.want("session1", append(o.want, "again", true)...)
}

var mergeRules = slices.Concat(overlapRules("merge/", overlaps), []rule{
	{
		name:  "merge/in parallel",
		text:  "64 requests that overlap and set 64 keys leave 64 keys.",
		check: func(e *env) { e.overlap(e) },
	},
	{
		name:  "merge/in parallel, two stores",
		text:  "64 requests that overlap and set 64 keys leave 64 keys, through two stores on the same storage too.",
		not:   []Trait{Private},
		check: func(e *env) { e.overlap(e.another()) },
	},
	{
		name: "merge/whole session",
		text: "A session that was made by hand, or read from another store, replaces what is stored.",
		check: func(e *env) {
			e.set("session1", "old", 1)
			e.save(session.NewBaseSessionWithData("session1", session.GobEncoder, nil, session.Data{"new": 2}))
			e.want("session1", "old", nil, "new", 2)

			other := newEnv(e, e.open, long)
			other.set("session1", "theirs", 3)
			e.save(other.read("session1"))
			e.want("session1", "new", nil, "theirs", 3)
			e.save(foreign{other.read("session1"), "session2"})
			e.want("session2", "theirs", 3)
		},
	},
})

func overlapRules(family string, overlaps []overlap) (rules []rule) {
	for _, o := range overlaps {
		rules = append(rules, o.rules(family)...)
	}
	return rules
}

// foreign is a session of another make: all it has is the interface.
type foreign struct {
	session.Session
	sid string
}

func (f foreign) ID() string { return f.sid }

// overlap has 64 sessions read before the first one is saved, half of them by
// each of two stores.
func (e *env) overlap(other *env) {
	e.Helper()
	const n = 64
	e.set("session1", "key", "value")
	var saves []func() error
	for i := range n {
		by := []*env{e, other}[i%2]
		s := by.read("session1")
		s.Set(fmt.Sprintf("key%d", i), i)
		saves = append(saves, func() error { return by.store.Save(e.context(), s) })
	}
	e.together(saves...)

	s := e.read("session1")
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
