package state_test

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/flamego/session/internal/state"
)

// step is one change, to a log and to a map alike.
type step struct {
	name string
	log  func(*state.Log)
	do   func(map[any]any)
}

var steps = []step{
	{"set a", func(l *state.Log) { l.Set("a", 1) }, func(m map[any]any) { m["a"] = 1 }},
	{"set b", func(l *state.Log) { l.Set("b", 2) }, func(m map[any]any) { m["b"] = 2 }},
	{"set nil", func(l *state.Log) { l.Set("c", nil) }, func(m map[any]any) { m["c"] = nil }},
	{"delete a", func(l *state.Log) { l.Delete("a") }, func(m map[any]any) { delete(m, "a") }},
	{"delete old", func(l *state.Log) { l.Delete("old") }, func(m map[any]any) { delete(m, "old") }},
	{"flush", func(l *state.Log) { l.Flush() }, func(m map[any]any) { clear(m) }},
	{"set all", func(l *state.Log) { l.SetAll(map[any]any{"all": 3}) }, func(m map[any]any) { clear(m); m["all"] = 3 }},
}

// play makes up to n changes.
func play(n int) (names []string, log state.Log, do func(map[any]any)) {
	var done []step
	for range n {
		s := steps[rand.N(len(steps))]
		names, done = append(names, s.name), append(done, s)
		s.log(&log)
	}
	return names, log, func(m map[any]any) {
		for _, s := range done {
			s.do(m)
		}
	}
}

// A log does to values what its changes did one by one: when it is applied, when it
// is looked through, and when it is two logs one after the other.
func TestLog(t *testing.T) {
	for range 5000 {
		names, log, do := play(rand.N(5))
		moreNames, more, doMore := play(rand.N(5))
		base := map[any]any{"a": 0, "old": 0}
		want := state.Map(base).Copy()
		do(want)
		got := state.Map(base).Copy()
		log.Apply(got)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%v: applied %v, want %v", names, got, want)
		}
		for _, key := range []any{"a", "b", "c", "old", "all", "none"} {
			val, ok := log.Get(key)
			if !ok {
				val = base[key]
			}
			if val != want[key] {
				t.Fatalf("%v: %v is %v, want %v", names, key, val, want[key])
			}
		}
		if log.IsEmpty() != (len(names) == 0) {
			t.Fatalf("%v: empty is %v", names, log.IsEmpty())
		}

		both := log.Then(more)
		doMore(want)
		got = state.Map(base).Copy()
		both.Apply(got)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%v then %v: applied %v, want %v", names, moreNames, got, want)
		}
		// Neither of the two has changed.
		again, want := state.Map(base).Copy(), state.Map(base).Copy()
		log.Apply(again)
		do(want)
		if !reflect.DeepEqual(again, want) {
			t.Fatalf("%v is %v after it was joined with %v", names, again, moreNames)
		}
	}
}

func TestSetsKeys(t *testing.T) {
	var log state.Log
	log.Delete("a")
	log.Renewed = true
	if log.SetsKeys() || log.IsEmpty() {
		t.Error("a key that was removed counts as set, or a new ID as nothing")
	}
	if log.Set("a", nil); !log.SetsKeys() {
		t.Error("a key that was set does not count")
	}
}

// What follows the end of a session does not count.
func TestDestroyIsTheEnd(t *testing.T) {
	var log, more state.Log
	log.Set("a", 1)
	log.Destroy()
	log.Set("b", 2)
	more.Set("c", 3)
	both := log.Then(more)
	m := map[any]any{"old": 1}
	both.Apply(m)
	if len(m) != 0 || !both.Destroyed || both.IsEmpty() || both.SetsKeys() {
		t.Errorf("left are %v", m)
	}
	if ended := more.Then(log); !ended.Destroyed {
		t.Error("the end is lost behind other changes")
	}
}
