package backendtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamego/session"
)

// Owners checks that a backend finds the records of an owner: all of them, and no others.
// The IDs begin with the prefix, and so do the owners, for backends that share a table. It
// takes 3 seconds, on the clock of the server.
func Owners(t testing.TB, b session.Backend, prefix string) {
	t.Helper()
	testOwners(t, b, prefix, true)
}

// OwnersApart is Owners for an index that is apart from the records, and is written first. It
// may have a record too many: one whose write was refused, or that has taken the place of a
// dead one.
func OwnersApart(t testing.TB, b session.Backend, prefix string) {
	t.Helper()
	testOwners(t, b, prefix, false)
}

func testOwners(t testing.TB, b session.Backend, prefix string, exact bool) {
	t.Helper()
	o := &owners{t, b, prefix}
	if i, ok := b.(session.OwnerIniter); ok {
		if err := i.InitOwners(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	o.insert("none", "")
	o.want("a")
	o.insert("a1", "a")
	o.insert("a2", "a")
	o.insert("a3", "a")
	o.insert("b1", "b")
	o.want("a", "a1", "a2", "a3")
	o.want("b", "b1")

	// Another owner, none, and one that had none.
	o.replace("a1", "a1", "a", "b")
	o.replace("a2", "a2", "a", "")
	o.replace("none", "none", "", "a")
	o.want("a", "a3", "none")
	o.want("b", "a1", "b1")

	// Another ID, with the same owner, with another one, with none, and with one at last.
	o.replace("a3", "a4", "a", "a")
	o.replace("a1", "b2", "b", "a")
	o.replace("b1", "b3", "b", "")
	o.replace("a2", "b4", "", "b")
	o.want("a", "a4", "b2", "none")
	o.want("b", "b4")

	// A write that is refused changes no index.
	ok, err := b.Swap(context.Background(), prefix+"a4", []byte("other"), o.record("a4", "refused", "a"))
	o.refused(ok, err)
	ok, err = b.Rename(context.Background(), prefix+"a4", prefix+"a5", []byte("other"), o.record("a5", "refused", "a"))
	o.refused(ok, err)
	ok, err = b.Insert(context.Background(), prefix+"a4", o.record("a4", "refused", ""))
	o.refused(ok, err)
	o.want("a", "a4", "b2", "none")
	o.want("b", "b4")
	if exact {
		o.want("refused")
	}

	if err := b.Delete(context.Background(), prefix+"a4"); err != nil {
		t.Fatal(err)
	}
	o.want("a", "b2", "none")

	// What is dead belongs to nobody, what takes its place to its own owner, and what is
	// written again as it is lives longer.
	short := func(name, former string) {
		t.Helper()
		rec := o.record(name, "c", former)
		rec.TTL = time.Second
		ok, err := b.Insert(context.Background(), prefix+name, rec)
		done(t, "insert "+name, ok, err)
	}
	short("c1", "")
	short("c2", "")
	short("c3", "")
	o.replace("c2", "c2", "c", "c")
	time.Sleep(2200 * time.Millisecond)
	o.want("c", "c2")
	if exact {
		o.insert("c1", "d")
		o.want("c", "c2")
		o.want("d", "c1")
	}
	sweep(t, b)
	o.want("c", "c2")
	if exact {
		o.want("d", "c1")
	}

	o.texts()
}

type owners struct {
	testing.TB
	b      session.Backend
	prefix string
}

// record is a record whose data is its name.
func (o *owners) record(name, owner, former string) session.Record {
	rec := session.Record{Data: []byte(name), TTL: time.Hour}
	if owner != "" {
		rec.Owner = o.prefix + owner
	}
	if former != "" {
		rec.Former = o.prefix + former
	}
	return rec
}

func (o *owners) insert(name, owner string) {
	o.Helper()
	ok, err := o.b.Insert(context.Background(), o.prefix+name, o.record(name, owner, ""))
	done(o, "insert "+name, ok, err)
}

// replace is a Swap if both names are one, and a Rename otherwise.
func (o *owners) replace(name, newName, former, owner string) {
	o.Helper()
	old, found, err := o.b.Load(context.Background(), o.prefix+name)
	done(o, "load "+name, found, err)
	rec := o.record(newName, owner, former)
	if name == newName {
		ok, err := o.b.Swap(context.Background(), o.prefix+name, old.Data, rec)
		done(o, "swap "+name, ok, err)
		return
	}
	ok, err := o.b.Rename(context.Background(), o.prefix+name, o.prefix+newName, old.Data, rec)
	done(o, "rename "+name, ok, err)
}

func (o *owners) refused(ok bool, err error) {
	o.Helper()
	if ok || err != nil {
		o.Errorf("a write is not refused: %v, %v", ok, err)
	}
}

// want checks that the owner has exactly these records.
func (o *owners) want(owner string, names ...string) {
	o.Helper()
	owned, err := o.b.(session.OwnerIndex).Owned(context.Background(), o.prefix+owner)
	if err != nil {
		o.Fatal(err)
	}
	var got []string
	for _, rec := range owned {
		name := strings.TrimPrefix(rec.ID, o.prefix)
		got = append(got, name)
		if string(rec.Data) != name || rec.TTL < 50*time.Minute || rec.TTL > time.Hour+time.Second {
			o.Errorf("the record %s of %s holds %q and has %v left", name, owner, rec.Data, rec.TTL)
		}
	}
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		o.Errorf("%s has %v, want %v", owner, got, names)
	}
}

// texts checks that the text of an owner may be any, and that no two are one.
func (o *owners) texts() {
	o.Helper()
	long := strings.Repeat("ü", (190-len(o.prefix))/2)
	for i, owner := range []string{"x", "X", "x ", " x", "'x", `"x`, `\x`, "x?", "$1", "$$ $1 $$", "$a$ ' $a$", "{x}", "x:y", "x/y", "../x", "%", "_", "é", "e\u0301", "日本", "🙂", "\t\n\x01", long} {
		name := fmt.Sprint("text", i)
		o.insert(name, owner)
		owned, err := o.b.(session.OwnerIndex).Owned(context.Background(), o.prefix+owner)
		if err != nil || !slices.ContainsFunc(owned, func(r session.OwnedRecord) bool { return r.ID == o.prefix+name }) {
			o.Errorf("owner %q has %d records, and not its own: %v", owner, len(owned), err)
		}
	}
}

// OwnedBesideRenewals checks that a record that gets one new ID after the other is found in
// each list.
func OwnedBesideRenewals(t testing.TB, b session.Backend, prefix string) {
	t.Helper()
	o := &owners{t, b, prefix}
	if i, ok := b.(session.OwnerIniter); ok {
		if err := i.InitOwners(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	o.insert("r0", "renewed")
	var (
		stop    = make(chan struct{})
		ended   = make(chan struct{})
		renewed atomic.Int64
	)
	go func() {
		defer close(ended)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			ok, err := b.Rename(context.Background(), fmt.Sprint(prefix, "r", n), fmt.Sprint(prefix, "r", n+1),
				fmt.Appendf(nil, "r%d", n), o.record(fmt.Sprint("r", n+1), "renewed", "renewed"))
			if !ok || err != nil {
				t.Errorf("renewal %d: %v, %v", n, ok, err)
				return
			}
			renewed.Add(1)
		}
	}()
	for i := 0; (i < 500 || renewed.Load() < 10) && !t.Failed(); i++ {
		owned, err := b.(session.OwnerIndex).Owned(context.Background(), prefix+"renewed")
		if err != nil || len(owned) == 0 {
			t.Errorf("list %d has %d records, %v", i, len(owned), err)
		}
	}
	close(stop)
	<-ended
}
