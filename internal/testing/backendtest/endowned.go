package backendtest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamego/session"
)

// EndOwnedBesideRenewals checks that no record of an owner survives if all that are listed
// are deleted, again and again until the list is empty twice, though each record gets one
// new ID after the other meanwhile. There is an end to the new IDs: where all wait for the
// same lock in turn, a delete would come too late each time.
func EndOwnedBesideRenewals(t testing.TB, b session.Backend, prefix string, rounds int) {
	t.Helper()
	const chains, length = 2, 6
	o := &owners{t, b, prefix}
	if i, ok := b.(session.OwnerIniter); ok {
		if err := i.InitOwners(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	renewals, survivors := 0, 0
	for round := range rounds {
		var (
			ended atomic.Bool
			wg    sync.WaitGroup
			count [chains]int
		)
		name := func(chain, n int) string { return fmt.Sprintf("e%dx%dx%d", round, chain, n) }
		for chain := range chains {
			o.insert(name(chain, 0), "ended")
		}
		for chain := range chains {
			wg.Go(func() {
				n := &count[chain]
				for *n < length && !ended.Load() {
					from, to := name(chain, *n), name(chain, *n+1)
					ok, err := b.Rename(context.Background(), prefix+from, prefix+to, []byte(from), o.record(to, "ended", "ended"))
					if err != nil {
						t.Errorf("renewal %d of round %d: %v", *n, round, err)
					}
					if !ok {
						return
					}
					*n++
				}
			})
		}
		time.Sleep(time.Duration(round%10) * 100 * time.Microsecond)
		o.end("ended")
		ended.Store(true)
		wg.Wait()
		for chain, n := range count {
			renewals += n
			_, found, err := b.Load(context.Background(), prefix+name(chain, n))
			if err != nil {
				t.Fatal(err)
			}
			if found {
				survivors++
				if err := b.Delete(context.Background(), prefix+name(chain, n)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if survivors > 0 {
		t.Errorf("%d of %d records survive", survivors, rounds*chains)
	}
	if renewals < rounds {
		t.Errorf("only %d renewals in %d rounds", renewals, rounds)
	}
	t.Logf("%d renewals in %d rounds", renewals, rounds)
}

// end deletes the records of an owner until the list is empty twice.
func (o *owners) end(owner string) {
	o.Helper()
	for empty := 0; empty < 2; {
		owned, err := o.b.(session.OwnerIndex).Owned(context.Background(), o.prefix+owner)
		if err != nil {
			o.Fatal(err)
		}
		for _, rec := range owned {
			if err := o.b.Delete(context.Background(), rec.ID); err != nil {
				o.Fatal(err)
			}
		}
		empty++
		if len(owned) > 0 {
			empty = 0
		}
	}
}
