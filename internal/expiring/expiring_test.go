package expiring

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var ctx = context.Background()

// checked returns the number of entries, after a look at whether buckets and rings
// agree in all shards.
func (t *Table[V]) checked(tb testing.TB) int {
	tb.Helper()
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		inBuckets, inRings := 0, 0
		for _, e := range sh.buckets {
			for ; e != nil; e = e.link {
				inBuckets++
			}
		}
		for _, r := range sh.rings {
			for e := r.head.next; e != &r.head; e = e.next {
				if *sh.place(e.key) != e || e.shard() != i || e.prev.next != e || e.next.prev != e {
					tb.Fatalf("shard %d has lost an entry", i)
				}
				inRings++
			}
		}
		if inBuckets != sh.n || inRings != sh.n {
			tb.Fatalf("shard %d counts %d entries, has %d in buckets and %d in rings", i, sh.n, inBuckets, inRings)
		}
		sh.mu.Unlock()
	}
	return t.Len()
}

// put puts a value under a key.
func put[V any](t *Table[V], key string, val V, ttl time.Duration) *V {
	return t.Update(key, key, func(*V, time.Duration) Decision[V] {
		d := Put(val)
		d.TTL = ttl
		return d
	})
}

// requireLeft checks how long the keys have left; a key with nothing left is dead.
func requireLeft(tb testing.TB, t *Table[int], want map[string]time.Duration) {
	tb.Helper()
	for key, left := range want {
		val, got := t.Get(key)
		if got != left || (val != nil) != (left > 0) {
			tb.Errorf("%s has %v left, want %v", key, got, left)
		}
	}
}

// Entries of different times to live die in their own time, at that very instant.
func TestTimesToLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New[int]()
		put(table, "second", 1, time.Second)
		put(table, "minute", 2, time.Minute)
		put(table, "month", 3, 30*24*time.Hour)
		time.Sleep(time.Second - 1)
		requireLeft(t, table, map[string]time.Duration{"second": 1, "minute": 59*time.Second + 1})
		time.Sleep(1)
		requireLeft(t, table, map[string]time.Duration{"second": 0, "minute": 59 * time.Second})

		put(table, "minute", 4, time.Second) // a change may shorten
		table.Extend("month", time.Hour)     // an extension does not
		table.Extend("second", time.Hour)    // nor does it bring anything back
		requireLeft(t, table, map[string]time.Duration{
			"second": 0, "minute": time.Second, "month": 30*24*time.Hour - time.Second,
		})
		table.Extend("minute", time.Hour)
		time.Sleep(time.Hour)
		requireLeft(t, table, map[string]time.Duration{"minute": 0, "month": 30*24*time.Hour - time.Hour - time.Second})
		if err := table.Sweep(ctx); err != nil || table.checked(t) != 1 {
			t.Errorf("%d entries are left, want the month (%v)", table.Len(), err)
		}
	})
}

// A dead entry is removed at the latest when it has been dead for as long as it
// lived, whatever other entries there are.
func TestSweepIsNotHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New[int]()
		type life struct {
			end, ttl time.Duration
		}
		lives := make(map[string]life)
		begun := time.Now()
		for i := range 4000 {
			ttl := time.Duration(1+rand.N(1<<rand.N(12))) * time.Second
			key := fmt.Sprint("key", i)
			put(table, key, i, ttl)
			lives[key] = life{time.Since(begun) + ttl, ttl}
			time.Sleep(time.Duration(rand.N(int(2 * time.Second))))
			if i%50 > 0 {
				continue
			}
			if err := table.Sweep(ctx); err != nil {
				t.Fatal(err)
			}
			now := time.Since(begun)
			for key, l := range lives {
				sh, k := table.locked(key)
				there := *sh.place(k) != nil
				sh.mu.Unlock()
				switch {
				case !there && now < l.end:
					t.Fatalf("%s was removed %v before its end", key, l.end-now)
				case there && now >= l.end+l.ttl:
					t.Fatalf("%s is there %v after its end, and lived for %v", key, now-l.end, l.ttl)
				case !there:
					delete(lives, key)
				}
			}
		}
		table.checked(t)
	})
}

// A sweep ends with its context.
func TestSweepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New[int]()
		for i := range 50_000 {
			put(table, fmt.Sprint("key", i), i, time.Minute)
		}
		time.Sleep(time.Minute)
		done, cancel := context.WithCancel(ctx)
		cancel()
		if err := table.Sweep(done); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
		if err := table.Sweep(ctx); err != nil || table.checked(t) != 0 {
			t.Errorf("%d entries are left (%v)", table.Len(), err)
		}
	})
}

func TestUpdate(t *testing.T) {
	table := New[int]()
	first := put(table, "a", 1, time.Hour)
	if second := put(table, "a", 2, time.Hour); *first != 1 || *second != 2 {
		t.Errorf("a value was written to: %d, %d", *first, *second)
	}
	type decision = Decision[int]
	put := func(val int) decision {
		d := Put(val)
		d.TTL = time.Hour
		return d
	}
	change := func(from, to string, want int, d decision) *int {
		return table.Update(from, to, func(now *int, left time.Duration) decision {
			if now == nil != (left <= 0) {
				t.Errorf("%v are left", left)
			}
			got := 0
			if now != nil {
				got = *now
			}
			if got != want {
				t.Errorf("under %s is %d, want %d", from, got, want)
			}
			return d
		})
	}
	if change("a", "a", 2, decision{}) != nil {
		t.Error("something was put")
	}
	if moved := change("a", "b", 2, put(3)); moved == nil || *moved != 3 {
		t.Errorf("put was %v", moved)
	}
	change("a", "a", 0, decision{Remove: true})
	change("b", "b", 3, decision{Remove: true})
	change("b", "c", 0, put(4))
	for _, was := range []int{4, 0} { // something is left also where nothing was
		leaving := put(5)
		leaving.Left, leaving.LeftTTL = 6, time.Minute
		change("c", "d", was, leaving)
		if left, ttl := table.Get("c"); left == nil || *left != 6 || ttl > time.Minute || table.checked(t) != 2 {
			t.Errorf("left behind are %v for %v", left, ttl)
		}
		table.Delete("c")
	}
	change("d", "d", 5, put(4))
	change("d", "c", 4, put(4))
	table.Delete("none")
	if val, _ := table.Get("c"); val == nil || *val != 4 || table.checked(t) != 1 {
		t.Errorf("c is %v, of %d entries", val, table.Len())
	}
	table.Delete("c")
	if table.checked(t) != 0 {
		t.Error("something is left")
	}
}

// Changes of one key, moves between keys, extensions and sweeps at the same time
// lose nothing.
func TestChangesInParallel(t *testing.T) {
	const goroutines, rounds = 8, 500
	table := New[int]()
	count := func(from, to string) {
		table.Update(from, to, func(now *int, _ time.Duration) Decision[int] {
			n := 1
			if now != nil {
				n += *now
			}
			d := Put(n)
			d.TTL = time.Hour
			return d
		})
	}
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range rounds {
				count("shared", "shared")
				count(fmt.Sprint(g, "/", i), fmt.Sprint(g, "/", i+1))
				table.Extend("shared", 2*time.Hour)
				_ = table.Sweep(ctx)
			}
		})
	}
	wg.Wait()
	if val, _ := table.Get("shared"); val == nil || *val != goroutines*rounds {
		t.Errorf("the shared count is %v", val)
	}
	for g := range goroutines {
		if val, _ := table.Get(fmt.Sprint(g, "/", rounds)); val == nil || *val != rounds {
			t.Errorf("count %d is %v", g, val)
		}
	}
	if n := table.checked(t); n != goroutines+1 {
		t.Errorf("there are %d entries", n)
	}
}
