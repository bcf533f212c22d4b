package commit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/session/internal/commit"
	"github.com/flamego/session/internal/state"
)

var ctx = context.Background()

// store is a commit.Store in a map, which somebody can interfere with.
type store struct {
	data    map[string][]byte
	marks   map[string]bool // the IDs that were given up: true while that counts
	before  func()          // called before each write
	lose    bool            // the answer to the next write that succeeds is lost; the driver asks again
	calls   []string        // the writes, in order
	fail    error           // of the next encoding
	down    bool            // nothing can be read
	hangs   bool            // a read gets no answer
	expires commit.Moment   // when all records expire
	loaded  time.Time       // when a record was last read

	mu    sync.Mutex
	notes []string // what became of sessions

	// answer, if it is not nil, is what becomes of the answer to a write: it may make the
	// write, with apply, and returns its error.
	answer func(op string, apply func() bool) (bool, error)
}

func newStore(id string, values map[any]any) *store {
	s := &store{data: make(map[string][]byte), marks: make(map[string]bool), expires: commit.In(0)} // written long ago
	if values != nil {
		s.put(id, values)
	}
	return s
}

func (s *store) put(id string, values map[any]any) {
	data, err := s.Encode(id, values, nil)
	if err != nil {
		panic(err)
	}
	s.data[id] = data
}

// values are those of the app, without the name of the commit that has computed one.
func (s *store) values(id string) map[any]any {
	values, _, _ := s.Decode(id, s.data[id])
	delete(values, "flamego::session::commit")
	return values
}

func (s *store) Load(ctx context.Context, id string) (commit.Found, error) {
	s.loaded = time.Now()
	if s.hangs {
		<-ctx.Done()
	}
	if s.down || s.hangs {
		return commit.Found{}, errors.New("nobody answers")
	}
	data, ok := s.data[id]
	counts, marked := s.marks[id]
	switch {
	case ok:
		return commit.Found{Status: commit.Live, Data: data, Expires: s.expires}, nil
	case counts:
		return commit.Found{Status: commit.Renewed, Data: markData}, nil
	case marked:
		return commit.Found{Data: markData}, nil
	default:
		return commit.Found{}, nil
	}
}

var markData = []byte("mark")

// write is an atomic step: from the ID with the old data, nil for none, to the new.
func (s *store) write(op, from, to string, old []byte, rec commit.Record) (bool, error) {
	if s.before != nil {
		s.before()
	}
	s.calls = append(s.calls, op)
	if s.answer != nil {
		return s.answer(op, func() bool { return s.apply(from, to, old, rec) })
	}
	applied := s.apply(from, to, old, rec)
	lost := applied && s.lose
	s.lose = s.lose && !applied
	return applied && !lost, nil
}

func (s *store) apply(from, to string, old []byte, rec commit.Record) bool {
	data, ok := s.data[from]
	if _, marked := s.marks[from]; marked {
		data, ok = markData, true
	}
	if ok != (old != nil) || !bytes.Equal(data, old) {
		return false
	}
	delete(s.data, from)
	delete(s.marks, from)
	s.data[to] = rec.Data
	return true
}

func (s *store) Insert(_ context.Context, id string, rec commit.Record) (bool, error) {
	return s.write("insert", id, id, nil, rec)
}

func (s *store) Swap(_ context.Context, id string, old []byte, rec commit.Record) (bool, error) {
	return s.write("swap", id, id, old, rec)
}

func (s *store) Rename(_ context.Context, old commit.Origin, newID string, rec commit.Record) (bool, error) {
	if newID != old.ID && s.data[newID] != nil {
		s.calls = append(s.calls, "rename")
		return false, nil // it is taken
	}
	return s.write("rename", old.ID, newID, old.Data, rec)
}

func (s *store) Mark(_ context.Context, id string) { s.marks[id] = true }

func (s *store) Delete(_ context.Context, id string) error {
	s.calls = append(s.calls, "delete")
	delete(s.data, id)
	return nil
}

func (s *store) TTL(map[any]any, bool) time.Duration { return time.Hour }

func (s *store) Stamp(map[any]any, bool) bool { return false }

func (s *store) Note(_ context.Context, o commit.Outcome, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, fmt.Sprint([]string{"created ", "renewed ", "ended ", "lost "}[o], id))
}

func (s *store) Owner(map[any]any) string { return "" }

func (s *store) Encode(_ string, values map[any]any, _ *state.Rest) ([]byte, error) {
	if err := s.fail; err != nil {
		s.fail = nil
		return nil, err
	}
	m := make(map[string]any)
	for key, val := range values {
		m[key.(string)] = val
	}
	return json.Marshal(m)
}

func (s *store) Rebind(data []byte, _, _ string) []byte { return data }

func (s *store) Decode(_ string, data []byte) (map[any]any, *state.Rest, error) {
	m := make(map[string]any)
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, nil, err
	}
	values := make(map[any]any)
	for key, val := range m {
		values[key] = val
	}
	return values, nil, nil
}

// change returns a change of the record with the ID as it is now.
func (s *store) change(id string, do func(*state.Log)) *commit.Change {
	data, ok := s.data[id]
	status := commit.Gone
	if ok {
		status = commit.Live
	}
	c := &commit.Change{ID: id, Origin: commit.Origin{ID: id, Status: status, Data: data, Expires: s.expires}}
	if ok {
		c.Values = state.Map(s.values(id))
	}
	do(&c.Log)
	return c
}

// inc counts a up. Numbers come back from JSON as float64.
func inc(l *state.Log) {
	l.Update("a", func(now any) any { n, _ := now.(float64); return n + 1 }, 1.0)
}

func set(key, val string) func(*state.Log) { return func(l *state.Log) { l.Set(key, val) } }

// What becomes of a change when the record is no longer as it was read.
func TestConflicts(t *testing.T) {
	type values = map[any]any
	renewed := func(s *store) { s.data["other"] = s.data["abc"]; delete(s.data, "abc"); s.marks["abc"] = true }
	for name, tt := range map[string]struct {
		stored    values            // what the change was made on, nil for no record
		meanwhile func(s *store)    // what others do after that
		newID     string            // that the change gives to the session
		change    func(*state.Log)  //
		want      map[string]values // all that is stored then
		vanished  bool
		void      bool
		calls     []string
	}{
		"none": {
			stored: values{"a": "1"}, change: set("b", "2"),
			want: map[string]values{"abc": {"a": "1", "b": "2"}}, calls: []string{"swap"},
		},
		"first": {
			change: set("b", "2"),
			want:   map[string]values{"abc": {"b": "2"}}, calls: []string{"insert"},
		},
		"another key": {
			stored: values{"a": "1"}, meanwhile: func(s *store) { s.put("abc", values{"a": "1", "other": "x"}) }, change: set("b", "2"),
			want: map[string]values{"abc": {"a": "1", "b": "2", "other": "x"}}, calls: []string{"swap", "swap"},
		},
		"the same key": {
			stored: values{"a": "1"}, meanwhile: func(s *store) { s.put("abc", values{"a": "other"}) }, change: set("a", "2"),
			want: map[string]values{"abc": {"a": "2"}}, calls: []string{"swap", "swap"},
		},
		"counted by another": {
			stored: values{"a": 1.0}, meanwhile: func(s *store) { s.put("abc", values{"a": 2.0}) }, change: inc,
			want: map[string]values{"abc": {"a": 3.0}}, calls: []string{"swap", "swap"},
		},
		"counted, and renewed": {
			stored: values{"a": 1.0}, meanwhile: func(s *store) { s.put("abc", values{"a": 2.0}) }, newID: "new", change: inc,
			want: map[string]values{"new": {"a": 3.0}}, calls: []string{"rename", "rename"},
		},
		"counted, and begun by another": {
			meanwhile: func(s *store) { s.put("abc", values{"a": 2.0}) }, change: inc,
			want: map[string]values{"abc": {"a": 3.0}}, calls: []string{"insert", "swap"},
		},
		"flushed": {
			stored: values{"a": "1"}, meanwhile: func(s *store) { s.put("abc", values{"a": "other", "b": "x"}) },
			change: func(l *state.Log) { l.Flush(); l.Set("c", "3") },
			want:   map[string]values{"abc": {"c": "3"}}, calls: []string{"swap", "swap"},
		},
		"two first ones": {
			meanwhile: func(s *store) { s.put("abc", values{"other": "x"}) }, change: set("b", "2"),
			want: map[string]values{"abc": {"b": "2", "other": "x"}}, calls: []string{"insert", "swap"},
		},
		"gone": {
			stored: values{"a": "1"}, meanwhile: func(s *store) { delete(s.data, "abc") }, change: set("b", "2"),
			want: map[string]values{}, vanished: true, calls: []string{"swap"},
		},
		"renamed by another": {
			stored: values{"a": "1"}, meanwhile: func(s *store) { s.data["other"] = s.data["abc"]; delete(s.data, "abc") }, change: set("b", "2"),
			want: map[string]values{"other": {"a": "1"}}, vanished: true, calls: []string{"swap"},
		},
		"renewed": {
			stored: values{"a": "1"}, newID: "new", change: set("b", "2"),
			want: map[string]values{"new": {"a": "1", "b": "2"}}, calls: []string{"rename"},
		},
		"renewed, beside a change": {
			stored: values{"a": "1"}, meanwhile: func(s *store) { s.put("abc", values{"a": "other"}) }, newID: "new", change: set("b", "2"),
			want: map[string]values{"new": {"a": "other", "b": "2"}}, calls: []string{"rename", "rename"},
		},
		"renewed, and gone": {
			stored: values{"a": "1"}, meanwhile: func(s *store) { delete(s.data, "abc") }, newID: "new", change: set("b", "2"),
			want: map[string]values{}, vanished: true, calls: []string{"rename"},
		},
		"renewed for the first time": {
			newID: "new", change: set("b", "2"),
			want: map[string]values{"new": {"b": "2"}}, calls: []string{"rename"},
		},
		"renewed by another": {
			stored: values{"a": "1"}, meanwhile: renewed, change: set("b", "2"),
			want: map[string]values{"other": {"a": "1"}}, void: true, calls: []string{"swap"},
		},
		"renewed twice": {
			stored: values{"a": "1"}, meanwhile: renewed, newID: "new", change: set("b", "2"),
			want: map[string]values{"other": {"a": "1"}, "new": {"b": "2"}}, calls: []string{"rename", "insert"},
		},
		"renewed twice with nothing set": {
			stored: values{"a": "1"}, meanwhile: renewed, newID: "new",
			change: func(l *state.Log) { l.Renewed = true; l.Delete("a") },
			want:   map[string]values{"other": {"a": "1"}}, void: true, calls: []string{"rename"},
		},
		"begun under an ID that was given up": {
			meanwhile: func(s *store) { s.marks["abc"] = true }, change: set("b", "2"),
			want: map[string]values{}, void: true, calls: []string{"insert"},
		},
		"begun under an ID that was given up long ago": {
			meanwhile: func(s *store) { s.marks["abc"] = false }, change: set("b", "2"),
			want: map[string]values{"abc": {"b": "2"}}, calls: []string{"insert", "swap"},
		},
		"under an ID that was given up long ago": {
			stored: values{"a": "1"}, meanwhile: func(s *store) { renewed(s); s.marks["abc"] = false }, change: set("b", "2"),
			want: map[string]values{"other": {"a": "1"}}, vanished: true, calls: []string{"swap"},
		},
		"destroyed": {
			stored: values{"a": "1"}, meanwhile: func(s *store) { s.put("abc", values{"a": "other"}) },
			change: func(l *state.Log) { l.Destroy() },
			want:   map[string]values{}, vanished: true, calls: []string{"delete"},
		},
		"unreadable, and flushed": {
			stored: values{"a": "1"}, meanwhile: func(s *store) { s.data["abc"] = []byte("{") },
			change: func(l *state.Log) { l.Flush(); l.Set("b", "2") },
			want:   map[string]values{"abc": {"b": "2"}}, calls: []string{"swap", "swap"},
		},
		"unreadable, and destroyed": {
			stored: values{"a": "1"}, meanwhile: func(s *store) { s.data["abc"] = []byte("{") },
			change: func(l *state.Log) { l.Destroy() },
			want:   map[string]values{}, vanished: true, calls: []string{"delete"},
		},
		"an answer that is lost": {
			stored: values{"a": "1"}, meanwhile: func(s *store) { s.lose = true }, change: set("b", "2"),
			want: map[string]values{"abc": {"a": "1", "b": "2"}}, calls: []string{"swap"},
		},
		"a lost answer to a rename": {
			stored: values{"a": "1"}, meanwhile: func(s *store) { s.lose = true }, newID: "new", change: set("b", "2"),
			want: map[string]values{"new": {"a": "1", "b": "2"}}, calls: []string{"rename"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore("abc", tt.stored)
			c := s.change("abc", tt.change)
			if tt.newID != "" {
				c.ID = tt.newID
			}
			if tt.meanwhile != nil {
				tt.meanwhile(s)
			}
			if err := commit.New(s).Commit(ctx, c); err != nil {
				t.Fatal(err)
			}
			got := make(map[string]values)
			for id := range s.data {
				got[id] = s.values(id)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("stored is %v, want %v", got, tt.want)
			}
			if !reflect.DeepEqual(s.calls, tt.calls) {
				t.Errorf("the writes are %q, want %q", s.calls, tt.calls)
			}
			if _, marked := s.marks["abc"]; tt.newID != "" && !tt.vanished && !tt.void && !marked {
				t.Error("the old ID has no mark")
			}
			if c.Vanished != tt.vanished || c.IsVoid() != tt.void {
				t.Errorf("vanished is %v, void is %v", c.Vanished, c.IsVoid())
			}
			if now, ok := s.data[c.ID]; ok != (c.Origin.Status == commit.Live) && !c.Vanished || ok && !bytes.Equal(now, c.Origin.Data) {
				t.Errorf("the change says that stored is %s, and it is %s", c.Origin.Data, now)
			}
		})
	}
}

// A change that is void from the start asks the store for nothing. The end of a session
// counts in any case, and leaves the mark alone.
func TestVoid(t *testing.T) {
	for _, ends := range []bool{false, true} {
		s := newStore("abc", nil)
		c := s.change("abc", set("a", "1"))
		if c.Origin.Status = commit.Renewed; ends {
			c.Log.Destroy()
		}
		if err := commit.New(s).Commit(ctx, c); err != nil || len(s.calls) > 0 || c.Vanished != ends {
			t.Errorf("vanished is %v after %q (%v)", c.Vanished, s.calls, err)
		}
	}
}

// What another writer has stored and nobody here can decode is not replaced by what a
// request changed that has read other bytes. A new ID leaves the bytes as they are.
func TestBecomesUnreadable(t *testing.T) {
	const unreadable = "{"
	for _, tt := range []struct {
		name       string
		read, now  string // what was read, and what is there
		newID      string
		change     func(*state.Log)
		want, fail string
	}{
		{name: "changed", read: `{"a":"1"}`, now: unreadable, change: set("b", "2"), want: unreadable, fail: "the record cannot be decoded any more"},
		{name: "changed and renewed", read: `{"a":"1"}`, now: unreadable, newID: "new", change: set("b", "2"), want: unreadable, fail: "the record cannot be decoded any more"},
		{name: "renewed", read: `{"a":"1"}`, now: unreadable, newID: "new", change: func(l *state.Log) { l.Renewed = true }, want: unreadable},
		{name: "read as such", read: "[", now: "[", change: set("b", "2"), want: `{"b":"2"}`},
		{name: "read as such, and others now", read: "[", now: unreadable, change: set("b", "2"), want: unreadable, fail: "the record cannot be decoded any more"},
		{name: "read as such, and whole now", read: "[", now: `{"a":"1"}`, change: set("b", "2"), want: `{"a":"1","b":"2"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore("abc", nil)
			s.data["abc"] = []byte(tt.read)
			c := s.change("abc", tt.change)
			c.Origin.Unreadable = s.values("abc") == nil
			if tt.newID != "" {
				c.ID = tt.newID
			}
			s.data["abc"] = []byte(tt.now)
			err := commit.New(s).Commit(ctx, c)
			if (err != nil) != (tt.fail != "") || err != nil && !strings.HasPrefix(err.Error(), tt.fail) {
				t.Errorf("the error is %v", err)
			}
			id := c.ID
			if err != nil {
				id = "abc"
			}
			if got := string(s.data[id]); got != tt.want || len(s.data) != 1 {
				t.Errorf("stored is %q", s.data)
			}
		})
	}
}

// Of those that take a flash one gets it, also where answers are lost.
func TestTakeFlash(t *testing.T) {
	for _, lose := range []bool{false, true} {
		s := newStore("abc", map[any]any{state.FlashKey: "hello", "a": "1"})
		take := func() *commit.Change {
			c := s.change("abc", func(l *state.Log) { l.Delete(state.FlashKey) })
			c.When = commit.IfFlash
			return c
		}
		changes := []*commit.Change{take(), take(), take()}
		s.lose = lose
		e, got := commit.New(s), 0
		for _, c := range changes {
			if err := e.Commit(ctx, c); err != nil {
				t.Fatal(err)
			}
			if c.Flash != nil {
				got++
			}
		}
		if lose && got > 1 || !lose && got != 1 {
			t.Errorf("%d requests got the flash", got)
		}
		if want := map[any]any{"a": "1"}; !reflect.DeepEqual(s.values("abc"), want) {
			t.Errorf("left is %v", s.values("abc"))
		}
	}
}

// A flash is not taken by a request that finds the session gone.
func TestTakeFlashOfAGoneSession(t *testing.T) {
	s := newStore("abc", map[any]any{state.FlashKey: "hello"})
	c := s.change("abc", func(l *state.Log) { l.Delete(state.FlashKey) })
	c.When = commit.IfFlash
	delete(s.data, "abc")
	if err := commit.New(s).Commit(ctx, c); err != nil || c.Flash != nil || !c.Vanished {
		t.Errorf("the flash is %v, vanished is %v (%v)", c.Flash, c.Vanished, err)
	}
}

// A flash that is given back does not replace a newer one.
func TestGiveFlash(t *testing.T) {
	for _, newer := range []bool{false, true} {
		s := newStore("abc", map[any]any{"a": "1"})
		c := s.change("abc", set(state.FlashKey, "old"))
		c.When = commit.IfNoFlash
		want := map[any]any{"a": "1", state.FlashKey: "old"}
		if newer {
			want[state.FlashKey] = "new"
			s.put("abc", want)
		}
		if err := commit.New(s).Commit(ctx, c); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(s.values("abc"), want) {
			t.Errorf("stored is %v, want %v", s.values("abc"), want)
		}
	}
}

// A commit that is beaten each time gives up, and leaves what the others wrote.
func TestContended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore("abc", map[any]any{"a": "1"})
		c := s.change("abc", set("b", "2"))
		n := 0
		s.before = func() { n++; s.put("abc", map[any]any{"a": fmt.Sprint("by ", n)}) }
		if err := commit.New(s).Commit(ctx, c); !errors.Is(err, commit.ErrContended) {
			t.Errorf("the error is %v", err)
		}
		if want := map[any]any{"a": "by 200"}; !reflect.DeepEqual(s.values("abc"), want) {
			t.Errorf("stored is %v, want %v", s.values("abc"), want)
		}

		n = 0
		ending, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if err := commit.New(s).Commit(ending, s.change("abc", set("b", "2"))); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %d tries the error is %v", n, err)
		}
	})
}

// A commit waits before it reads the record anew, and not between that and its write: others
// who write all the time would be faster each time.
func TestContendedAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore("abc", map[any]any{"a": "1"})
		n := 0
		s.before = func() {
			if n++; n <= 5 || time.Since(s.loaded) > 0 {
				s.put("abc", map[any]any{"a": fmt.Sprint("by ", n)})
			}
		}
		if err := commit.New(s).Commit(ctx, s.change("abc", set("b", "2"))); err != nil {
			t.Errorf("after %d tries the error is %v", n, err)
		}
		if n != 6 {
			t.Errorf("%d tries", n)
		}
	})
}

// What cannot be encoded is not stored, and may be tried again.
func TestEncodingFails(t *testing.T) {
	s := newStore("abc", map[any]any{"a": "1"})
	s.fail = errors.New("no")
	e, c := commit.New(s), s.change("abc", set("b", "2"))
	again := *c
	if err := e.Commit(ctx, c); err == nil || err.Error() != "no" || len(s.calls) > 0 {
		t.Errorf("the error is %v, after %q", err, s.calls)
	}
	if err := e.Commit(ctx, &again); err != nil || s.values("abc")["b"] != "2" {
		t.Errorf("stored is %v (%v)", s.values("abc"), err)
	}
}

// A new ID that another session has is an error at once: to try again would not help.
func TestNewIDIsTaken(t *testing.T) {
	s := newStore("abc", map[any]any{"a": 1.0})
	s.put("new", map[any]any{"b": 2.0})
	c := s.change("abc", set("a", "3"))
	c.ID = "new"
	if err := commit.New(s).Commit(ctx, c); err == nil || errors.Is(err, commit.ErrContended) {
		t.Errorf("the error is %v", err)
	}
	if s.values("abc")["a"] != 1.0 || s.values("new")["b"] != 2.0 || len(s.calls) > 4 {
		t.Errorf("stored are %v and %v after %v", s.values("abc"), s.values("new"), s.calls)
	}
}
