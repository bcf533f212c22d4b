package state_test

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

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
		for i := range rand.N(10) {
			base[i] = i
		}
		want := state.Map(base).Copy()
		do(want)
		got := state.Map(base).Copy()
		log.Apply(got)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%v: applied %v, want %v", names, got, want)
		}
		got = drafted(t, base, func(draft state.List) state.List { return draft.Apply(&log) })
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%v: a list becomes %v, want %v", names, got, want)
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

// drafted returns what becomes of values in a list. The list stays as it is.
func drafted(t *testing.T, values map[any]any, change func(state.List) state.List) map[any]any {
	t.Helper()
	var room state.Room
	before := state.ListOf(state.Map(values).Copy()).Stored()
	after := change(before.Draft(&room)).Stored()
	if !reflect.DeepEqual(before.Copy(), values) {
		t.Fatalf("the list has become %v", before.Copy())
	}
	return after.Copy()
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

func count(now any) any {
	n, _ := now.(int)
	return n + 1
}

// computing are the steps with some that compute. What the request sees plays no part when they
// are replayed.
var computing = append(steps[:len(steps):len(steps)],
	step{"count a", func(l *state.Log) { countIn(l, "a") }, func(m map[any]any) { m["a"] = count(m["a"]) }},
	step{"count old", func(l *state.Log) { countIn(l, "old") }, func(m map[any]any) { m["old"] = count(m["old"]) }},
	step{"count new", func(l *state.Log) { countIn(l, "new") }, func(m map[any]any) { m["new"] = count(m["new"]) }},
)

func countIn(l *state.Log, key any) {
	seen, _ := l.Get(key)
	l.Update(key, count, count(seen))
}

// What is computed is computed from what others have left, however the log was put together.
// What is already there is not computed again.
func TestReplay(t *testing.T) {
	playing := func(n int) ([]string, state.Log, func(map[any]any)) {
		old := steps
		steps = computing
		defer func() { steps = old }()
		return play(n)
	}
	for range 20_000 {
		names, log, do := playing(rand.N(6))
		moreNames, more, doMore := playing(rand.N(6))
		others := map[any]any{"a": rand.N(100), "old": rand.N(100), "other": 1}

		got, want := state.Map(others).Copy(), state.Map(others).Copy()
		do(want)
		inList := drafted(t, others, func(draft state.List) state.List {
			draft, err := draft.Replay(&log)
			if err != nil {
				t.Fatal(err)
			}
			return draft
		})
		if err := log.Replay(got); err != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(inList, want) {
			t.Fatalf("%v on %v: %v, %v, want %v", names, others, got, err, want)
		}
		both, inStore := log.Then(more), got
		got = state.Map(others).Copy()
		doMore(want)
		if err := both.Replay(got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v then %v on %v: %v, %v, want %v", names, moreNames, others, got, err, want)
		}
		rest := both.Without(log)
		if err := rest.Replay(inStore); err != nil || !reflect.DeepEqual(inStore, want) {
			t.Fatalf("%v in store, then %v on %v: %v, %v, want %v", names, moreNames, others, inStore, err, want)
		}
		// Neither of the two has changed.
		again, want := state.Map(others).Copy(), state.Map(others).Copy()
		do(want)
		if err := log.Replay(again); err != nil || !reflect.DeepEqual(again, want) {
			t.Fatalf("%v on %v: %v after that, %v, want %v", names, others, again, err, want)
		}
	}
}

// A request sees what came out when it looked, and what it has set itself is computed once.
func TestUpdate(t *testing.T) {
	var log state.Log
	log.Update("a", count, 5)
	log.Update("a", count, 6)
	log.Set("b", 1)
	log.Update("b", count, 2)
	log.Delete("c")
	log.Update("c", count, 1)
	if !log.Computes() || log.IsEmpty() {
		t.Error("the log computes nothing")
	}
	seen := map[any]any{"a": 100}
	log.Apply(seen)
	if want := map[any]any{"a": 6, "b": 2, "c": 1}; !reflect.DeepEqual(seen, want) {
		t.Errorf("seen is %v, want %v", seen, want)
	}
	stored := map[any]any{"a": 100, "b": 100, "c": 100}
	if err := log.Replay(stored); err != nil || !reflect.DeepEqual(stored, map[any]any{"a": 102, "b": 2, "c": 1}) {
		t.Errorf("stored is %v, %v", stored, err)
	}
	shown := map[any]any{"a": 102, "b": 3, "other": 1}
	log.ApplySet(shown)
	if want := map[any]any{"a": 102, "b": 2, "c": 1, "other": 1}; !reflect.DeepEqual(shown, want) {
		t.Errorf("shown is %v, want %v", shown, want)
	}

	log.Update("d", func(any) any { panic("secret") }, 1)
	if err := log.Replay(stored); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a panic is the error %v", err)
	}
}

func setBorn(m map[any]any, now time.Time, known bool) {
	state.ListOf(m).SetBorn(now, known)
}

// A flush leaves what is about the session itself, and the lifetime is set beside the values.
func TestFlushAndLifetime(t *testing.T) {
	now := time.Now()
	m := map[any]any{"a": 1, state.FlashKey: "hello"}
	setBorn(m, now, true)
	var log, more state.Log
	log.Lifetime = 90 * 60
	log.Apply(m)
	log = state.Log{}
	log.Flush()
	log.Apply(m)
	if born, known := state.Born(state.Map(m), now); len(m) != 2 || state.Lifetime(state.Map(m)) != 90*time.Minute || born.UnixMilli() != now.UnixMilli() || !known {
		t.Errorf("a flush leaves %v", m)
	}
	log.Lifetime = 3600
	more.Lifetime = -1
	both, still := log.Then(more), log.Then(state.Log{})
	still.Apply(m)
	if state.Lifetime(state.Map(m)) != time.Hour {
		t.Errorf("left is %v", m)
	}
	both.Apply(m)
	if len(m) != 1 {
		t.Errorf("left is %v", m)
	}
	if log = (state.Log{Lifetime: 1}); log.IsEmpty() || !log.ChangesValues() {
		t.Error("a lifetime is no change")
	}
}

// That a session is counted since some time does not say that it was issued then.
func TestLateBorn(t *testing.T) {
	now := time.Now()
	m := make(map[any]any)
	setBorn(m, now, false)
	if born, known := state.Born(state.Map(m), now); born.UnixMilli() != now.UnixMilli() || known {
		t.Errorf("%v: %v, %t", m, born, known)
	}
}

// What is in the values of a session may be anything.
func TestReservedValues(t *testing.T) {
	now := time.Now()
	ahead := map[any]any{}
	setBorn(ahead, now.Add(time.Hour), true)
	for _, m := range []map[any]any{nil, {}, ahead,
		{"flamego::session::born": 1, "flamego::session::lifetime": time.Hour},
		{"flamego::session::born": "soon", "flamego::session::lifetime": "long"},
		{"flamego::session::born": "99999999999999999999", "flamego::session::lifetime": "9223372036854775807"},
		{"flamego::session::lifetime": "-5"}, {"flamego::session::lifetime": "0"}, {"flamego::session::lifetime": "2147483648"},
	} {
		if born, known := state.Born(state.Map(m), now); !born.IsZero() || known {
			t.Errorf("%v was born at %v", m, born)
		}
		if l := state.Lifetime(state.Map(m)); l != 0 {
			t.Errorf("%v has the lifetime %v", m, l)
		}
	}
	for key, want := range map[any]bool{"flamego::session::born": true, "flamego::session::x": true, state.FlashKey: false, "a": false, 1: false, "flamego::session": false} {
		if state.IsReserved(key) != want || state.IsOfApp(key) != (!want && key != state.FlashKey) {
			t.Errorf("%v: reserved %t, of the app %t", key, state.IsReserved(key), state.IsOfApp(key))
		}
	}
}
