package commit_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/session/internal/commit"
	"github.com/flamego/session/internal/state"
)

var errHungUp = errors.New("hung up")

// kinds are the changes that end in each kind of write. Each sets a to "mine", or takes
// the flash or gives it back.
var kinds = map[string]struct {
	before map[any]any
	change func(s *store) *commit.Change
	newID  string
	after  map[any]any
}{
	"insert": {
		nil,
		func(s *store) *commit.Change {
			c := s.change("abc", set("a", "mine"))
			c.Fresh = true
			return c
		}, "abc",
		map[any]any{"a": "mine"},
	},
	"swap": {
		map[any]any{"a": "old", "b": "old"},
		func(s *store) *commit.Change { return s.change("abc", set("a", "mine")) }, "abc",
		map[any]any{"a": "mine", "b": "old"},
	},
	"count": {
		map[any]any{"a": 1.0, "b": "old"},
		func(s *store) *commit.Change { return s.change("abc", inc) }, "abc",
		map[any]any{"a": 2.0, "b": "old"},
	},
	"count and rename": {
		map[any]any{"a": 1.0},
		func(s *store) *commit.Change {
			c := s.change("abc", inc)
			c.ID = "new"
			return c
		}, "new",
		map[any]any{"a": 2.0},
	},
	"rename": {
		map[any]any{"a": "old", "b": "old"},
		func(s *store) *commit.Change {
			c := s.change("abc", set("a", "mine"))
			c.ID = "new"
			return c
		}, "new",
		map[any]any{"a": "mine", "b": "old"},
	},
	"rename alone": {
		map[any]any{"a": "old"},
		func(s *store) *commit.Change {
			c := s.change("abc", func(*state.Log) {})
			c.ID = "new"
			return c
		}, "new",
		map[any]any{"a": "old"},
	},
	"take flash": {
		map[any]any{"a": "old", state.FlashKey: "hello"},
		func(s *store) *commit.Change {
			c := s.change("abc", func(l *state.Log) { l.Delete(state.FlashKey) })
			c.When = commit.IfFlash
			return c
		}, "abc",
		map[any]any{"a": "old"},
	},
	"give flash": {
		map[any]any{"a": "old"},
		func(s *store) *commit.Change {
			c := s.change("abc", set(state.FlashKey, "hello"))
			c.When = commit.IfNoFlash
			return c
		}, "abc",
		map[any]any{"a": "old", state.FlashKey: "hello"},
	},
}

// TestLostAnswers: after an answer was lost the store holds the change once, or what
// somebody else has written since, about which the commit then says that it does not know.
func TestLostAnswers(t *testing.T) {
	others := map[any]any{"a": "theirs"}
	overwrite := func(s *store) {
		s.put("abc", others)
		if _, ok := s.data["new"]; ok {
			delete(s.data, "abc")
			s.put("new", others)
		}
	}
	for situation, test := range map[string]struct {
		answer func(s *store, n int, apply func() bool) (bool, error)
		writes int
		known  bool // the commit succeeds
		theirs bool // what others wrote is there in the end
	}{
		"made": {func(_ *store, _ int, apply func() bool) (bool, error) {
			return false, hungUpAfter(apply)
		}, 1, true, false},
		"not made": {func(_ *store, n int, apply func() bool) (bool, error) {
			if n == 1 {
				return false, errHungUp
			}
			return apply(), nil
		}, 2, true, false},
		"made late": {func(s *store, n int, apply func() bool) (bool, error) {
			if n == 1 {
				s.before = func() { apply() }
				return false, errHungUp
			}
			return apply(), nil
		}, 2, true, false},
		"made, then changed by others": {func(s *store, _ int, apply func() bool) (bool, error) {
			defer overwrite(s)
			return false, hungUpAfter(apply)
		}, 1, false, true},
		"changed by others": {func(s *store, _ int, _ func() bool) (bool, error) {
			overwrite(s)
			return false, errHungUp
		}, 1, false, true},
		"made late, then changed by others": {func(s *store, n int, apply func() bool) (bool, error) {
			if n == 1 {
				s.before = func() { apply(); overwrite(s) }
				return false, errHungUp
			}
			return apply(), nil
		}, 2, false, true},
	} {
		for kind, k := range kinds {
			t.Run(situation+"/"+kind, func(t *testing.T) {
				s := newStore("abc", k.before)
				c, n := k.change(s), 0
				s.answer = func(_ string, apply func() bool) (bool, error) {
					n++
					return test.answer(s, n, apply)
				}
				err := commit.New(s).Commit(ctx, c)
				known := test.known
				if kind == "take flash" && situation != "not made" {
					known = false // another request may have made the same change
				}
				if (err == nil) != known || err != nil && !errors.Is(err, errHungUp) {
					t.Errorf("the error is %v", err)
				}
				if err != nil && c.Flash != nil {
					t.Error("the flash is shown all the same")
				}
				if n != test.writes {
					t.Errorf("%d writes, want %d", n, test.writes)
				}
				want, id := k.after, k.newID
				if test.theirs {
					want = others
					if _, ok := s.data["abc"]; ok {
						id = "abc"
					}
				}
				if !reflect.DeepEqual(s.values(id), want) {
					t.Errorf("stored is %v, want %v", s.values(id), want)
				}
				if _, ok := s.data["abc"]; ok && id == "new" {
					t.Error("the old ID is alive")
				}
				if known && id == "new" && !s.marks["abc"] {
					t.Error("the old ID has no mark")
				}
				if known && !slices.Equal(s.notes, notesOf(kind)) {
					t.Errorf("noted is %v, want %v", s.notes, notesOf(kind))
				}
			})
		}
	}
}

// notesOf is what becomes of the session by a change of a kind.
func notesOf(kind string) []string {
	switch {
	case kind == "insert":
		return []string{"created abc"}
	case strings.Contains(kind, "rename"):
		return []string{"renewed new"}
	}
	return nil
}

func hungUpAfter(apply func() bool) error {
	if !apply() {
		return errors.New("the store has refused the write")
	}
	return errHungUp
}

// Answers that are lost each time end the commit before its time.
func TestLostAnswersInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore("abc", map[any]any{"a": "old"})
		s.answer = func(string, func() bool) (bool, error) { return false, errHungUp }
		begun := time.Now()
		if err := commit.New(s).Commit(ctx, s.change("abc", set("a", "mine"))); !errors.Is(err, errHungUp) {
			t.Errorf("the error is %v", err)
		}
		if len(s.calls) != 5 {
			t.Errorf("%d writes", len(s.calls))
		}
		if time.Since(begun) == 0 {
			t.Error("there is no pause between them")
		}
	})
}

// A write that was surely not made is the end of the commit.
func TestNotApplied(t *testing.T) {
	for kind, k := range kinds {
		s := newStore("abc", k.before)
		c := k.change(s)
		before := s.values("abc")
		s.answer = func(string, func() bool) (bool, error) { return false, fmt.Errorf("full: %w", commit.ErrNotApplied) }
		if err := commit.New(s).Commit(ctx, c); !errors.Is(err, commit.ErrNotApplied) {
			t.Errorf("%s: the error is %v", kind, err)
		}
		if len(s.calls) != 1 || !reflect.DeepEqual(s.values("abc"), before) {
			t.Errorf("%s: %v, and stored is %v", kind, s.calls, s.values("abc"))
		}
	}
}

// A write that is known not to have been made says nothing about the one before it.
func TestLostThenNotApplied(t *testing.T) {
	s := newStore("abc", map[any]any{"a": "old"})
	n := 0
	s.answer = func(_ string, _ func() bool) (bool, error) {
		if n++; n == 1 {
			return false, errHungUp
		}
		return false, commit.ErrNotApplied
	}
	if err := commit.New(s).Commit(ctx, s.change("abc", set("a", "mine"))); !errors.Is(err, commit.ErrNotApplied) {
		t.Errorf("the error is %v", err)
	}
	if !slices.Equal(s.calls, []string{"swap", "swap"}) {
		t.Errorf("the writes are %v", s.calls)
	}
}

// TestAfterALostAnswer: a session whose commit has failed may be committed again. The first
// commit counts if it was made, and if nobody knows, the second one fails too.
func TestAfterALostAnswer(t *testing.T) {
	for kind, k := range kinds {
		if kind == "take flash" || kind == "give flash" {
			continue // the middleware does these once
		}
		for _, made := range []bool{true, false} {
			for _, then := range []string{"again", "more", "others", "end"} {
				t.Run(fmt.Sprint(kind, "/", made, "/", then), func(t *testing.T) {
					s := newStore("abc", k.before)
					c := k.change(s)
					s.answer = func(_ string, apply func() bool) (bool, error) {
						if made {
							apply()
						}
						s.down, s.answer = true, nil
						return false, errHungUp
					}
					e := commit.New(s)
					if err := e.Commit(ctx, c); !errors.Is(err, errHungUp) || !c.IsDoubtful() {
						t.Fatalf("the error is %v, doubtful: %t", err, c.IsDoubtful())
					}
					s.down = false

					next := &commit.Change{ID: c.ID, Fresh: c.Fresh, Log: c.Log, Origin: c.Origin, Values: c.Values}
					want := maps.Clone(k.after)
					switch then {
					case "more":
						next.Log.Set("more", "mine")
						want["more"] = "mine"
						if n, counts := want["a"].(float64); counts {
							inc(&next.Log)
							want["a"] = n + 1
						}
					case "others":
						want = map[any]any{"a": "theirs"}
						for id := range s.data {
							s.put(id, want)
						}
						if len(s.data) == 0 {
							return
						}
					case "end":
						next.Log.Destroyed = true
						want = nil
					}
					err := e.Commit(ctx, next)
					if (err != nil) != (then == "others") {
						t.Errorf("the error is %v", err)
					}
					if then == "others" || then == "end" {
						for id := range s.data {
							if !reflect.DeepEqual(s.values(id), want) {
								t.Errorf("under %s is %v", id, s.values(id))
							}
						}
						return
					}
					if !reflect.DeepEqual(s.values(k.newID), want) || len(s.data) != 1 {
						t.Errorf("stored is %v, want %v", s.values(k.newID), want)
					}
					if k.newID == "new" && !s.marks["abc"] {
						t.Error("the old ID has no mark")
					}
					if !slices.Equal(s.notes, notesOf(kind)) {
						t.Errorf("noted is %v, want %v", s.notes, notesOf(kind))
					}
				})
			}
		}
	}
}

// TestLostAnswerAndTheSameAgain: that the record is as it was does not prove that nobody has
// seen the change. Somebody may have undone it, as who takes a flash does.
func TestLostAnswerAndTheSameAgain(t *testing.T) {
	for name, test := range map[string]struct {
		before, moved time.Duration // since the record was last written, and by how much its expiry has moved since
		again         bool
	}{
		"untouched":                     {time.Second, 10 * time.Millisecond, true},
		"written since":                 {time.Second, time.Second, false},
		"written by a shorter lifetime": {time.Second, -time.Minute, false},
		"written a moment before":       {10 * time.Millisecond, 10 * time.Millisecond, false},
	} {
		s := newStore("abc", map[any]any{"a": "1"})
		s.expires = commit.In(time.Hour - test.before)
		c := s.change("abc", set(state.FlashKey, "hello"))
		s.expires += commit.Moment(test.moved)
		n := 0
		s.answer = func(_ string, apply func() bool) (bool, error) {
			if n++; n > 1 {
				return apply(), nil
			}
			return false, errHungUp
		}
		err := commit.New(s).Commit(ctx, c)
		if (err == nil) != test.again || (s.values("abc")[state.FlashKey] != nil) != test.again {
			t.Errorf("%s: %v, and stored is %v", name, err, s.values("abc"))
		}
	}

	// Under an ID that others know, somebody may have ended what was stored.
	s := newStore("abc", nil)
	s.answer = func(string, func() bool) (bool, error) { return false, errHungUp }
	if err := commit.New(s).Commit(ctx, s.change("abc", set("a", "1"))); !errors.Is(err, errHungUp) || len(s.calls) != 1 {
		t.Errorf("an ID that others know: %v, %v", err, s.calls)
	}
}

// If the time is over before anybody could look what became of a write, the error says so.
func TestLostAnswerAndNoTime(t *testing.T) {
	for name, answer := range map[string]func(ctx context.Context, s *store){
		"of the write": func(ctx context.Context, _ *store) { <-ctx.Done() },
		"of the look":  func(_ context.Context, s *store) { s.hangs = true },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			k := kinds["swap"]
			s := newStore("abc", k.before)
			c := k.change(s)
			s.answer = func(string, func() bool) (bool, error) {
				answer(ctx, s)
				return false, errHungUp
			}
			err := commit.New(s).Commit(ctx, c)
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errHungUp) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}
