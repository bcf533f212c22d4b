// Package backendtest holds the tests that all backends share: those of what the
// operations on records promise and no store makes use of yet. It is for tests only.
package backendtest

import (
	"context"
	"testing"
	"time"

	"github.com/flamego/session"
)

// month is far beyond what any store of this module gives to a session by itself.
const month = 30 * 24 * time.Hour

// life is a record under test.
type life struct {
	b     session.Backend
	sid   string
	since time.Time
	ttl   time.Duration
}

// TimesToLive checks that a backend keeps whatever time to live a record has: records
// of different ones, beside each other, die in their own time. The IDs begin with the
// prefix, for backends that share a table. It takes 6 seconds, on the clock of the
// server.
func TimesToLive(t testing.TB, b session.Backend, prefix string) {
	t.Helper()
	ctx := context.Background()
	begun := time.Now()
	insert := func(name string, ttl time.Duration) *life {
		t.Helper()
		l := &life{b, prefix + name, time.Now(), ttl}
		ok, err := b.Insert(ctx, l.sid, session.Record{Data: []byte(name), TTL: ttl})
		done(t, "insert "+name, ok, err)
		return l
	}
	short, medium, hour, long := insert("short", time.Second), insert("medium", 4*time.Second), insert("hour", time.Hour), insert("month", month)

	// A swap and a rename may shorten and lengthen.
	shortened, lengthened, renamed := insert("shortened", time.Hour), insert("lengthened", time.Second), insert("renamed", time.Second)
	swap := func(l *life, old string, ttl time.Duration) {
		t.Helper()
		l.since, l.ttl = time.Now(), ttl
		ok, err := b.Swap(ctx, l.sid, []byte(old), session.Record{Data: []byte("new"), TTL: ttl})
		done(t, "swap "+old, ok, err)
	}
	swap(shortened, "shortened", time.Second)
	swap(lengthened, "lengthened", 2*time.Hour)
	newname := &life{b, prefix + "newname", time.Now(), time.Hour}
	ok, err := b.Rename(ctx, renamed.sid, newname.sid, []byte("renamed"), session.Record{Data: []byte("new"), TTL: newname.ttl})
	done(t, "rename", ok, err)

	// An extend may only lengthen.
	extended := insert("extended", time.Second)
	extended.since, extended.ttl = time.Now(), time.Hour
	done(t, "extend", true, b.Extend(ctx, extended.sid, extended.ttl))
	done(t, "extend", true, b.Extend(ctx, long.sid, time.Second))

	all := []*life{short, medium, hour, long, shortened, lengthened, newname, extended}
	for _, l := range all {
		l.check(t)
	}
	time.Sleep(time.Until(begun.Add(2500 * time.Millisecond)))
	for _, l := range append(all, &life{b, renamed.sid, begun, 0}) {
		l.check(t)
	}
	sweep(t, b)
	all = append(all[1:], insert("short", time.Hour)) // in the place of a dead record

	time.Sleep(time.Until(begun.Add(6 * time.Second)))
	done(t, "extend", true, b.Extend(ctx, medium.sid, time.Hour)) // which brings nothing back
	for range 2 {                                                 // before a sweep and after it
		for _, l := range all {
			l.check(t)
		}
		sweep(t, b)
	}
}

func done(t testing.TB, what string, ok bool, err error) {
	t.Helper()
	if err != nil || !ok {
		t.Fatalf("%s: %v, %v", what, ok, err)
	}
}

// check checks that a record is there until its end and not after it, and that it has
// left what it was given, to within the time that the test took. A database that keeps
// whole seconds may round up.
func (l *life) check(t testing.TB) {
	t.Helper()
	rec, found, err := l.b.Load(context.Background(), l.sid)
	left := l.ttl - time.Since(l.since)
	switch {
	case err != nil:
		t.Fatal(err)
	case found && left < -time.Second:
		t.Errorf("%s lives %v after its end", l.sid, -left)
	case !found && left > 0:
		t.Errorf("%s is dead %v before its end", l.sid, left)
	case found && (rec.TTL < left-10*time.Millisecond || rec.TTL > l.ttl+time.Second):
		t.Errorf("%s has %v left, should have %v", l.sid, rec.TTL, left)
	}
}

// sweep sweeps until nothing is left to do.
func sweep(t testing.TB, b session.Backend) {
	t.Helper()
	for more := true; more; {
		var err error
		if more, err = b.Sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}
