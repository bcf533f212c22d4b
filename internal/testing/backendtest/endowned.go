package backendtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamego/session"
)

// EndOwnedBesideRenewals checks that no record of an owner is left after all that are listed
// have been deleted, until two lists are empty, though the records get new IDs all the time.
// A round has so many records, which get so many IDs one after the other. What counts are records
// that were deleted before they had all of them: there are rounds until 100 records were, 500 at most,
// and more on a busy machine, where the list may come when the IDs have been given. Where all
// operations wait for one lock in turn, a delete would come too late for as long as there are new IDs.
func EndOwnedBesideRenewals(t testing.TB, b session.Backend, prefix string, chains, renewals int) {
	t.Helper()
	if i, ok := b.(session.OwnerIniter); ok {
		if err := i.InitOwners(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	const rounds, enough, plenty = 500, 10, 100
	var ended, renewed atomic.Int64
	survivors := 0
	round := 0
	for ; round < rounds && ended.Load() < plenty || ended.Load() < enough && round < 5*rounds; round++ {
		ctx := Deadline(t, time.Minute)
		rec := session.Record{Data: []byte("x"), TTL: time.Hour, Owner: fmt.Sprint(prefix, round)}
		begun := make(chan struct{}, chains) // each chain has had a new ID
		last := make([]string, chains)
		var wg sync.WaitGroup
		for c := range chains {
			sid := fmt.Sprintf("%s%dx%dx0", prefix, round, c)
			ok, err := b.Insert(ctx, sid, rec)
			done(t, "insert", ok, err)
			wg.Go(func() {
				rec := rec
				rec.Former = rec.Owner
				for n := 1; n <= renewals; n++ {
					next := fmt.Sprintf("%s%dx%dx%d", prefix, round, c, n)
					_, ok, err := b.Load(ctx, sid) // as a request does
					if ok && err == nil {
						ok, err = b.Rename(ctx, sid, next, rec.Data, rec)
					}
					if err != nil {
						t.Error(err)
					}
					if n == 1 {
						begun <- struct{}{}
					}
					if !ok {
						ended.Add(1)
						break
					}
					renewed.Add(1)
					sid = next
				}
				last[c] = sid
			})
		}
		for range chains {
			<-begun
		}
		for empty := 0; empty < 2; empty++ {
			list, err := b.(session.OwnerIndex).Owned(ctx, rec.Owner)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range list {
				empty = -1
				if err := b.Delete(ctx, r.ID); err != nil {
					t.Fatal(err)
				}
			}
		}
		wg.Wait()
		if slices.ContainsFunc(last, func(sid string) bool {
			_, found, err := b.Load(ctx, sid)
			return found || err != nil
		}) {
			survivors++
		}
	}
	t.Logf("%d renewals, of %d records %d were ended in between", renewed.Load(), round*chains, ended.Load())
	if survivors > 0 {
		t.Errorf("records are left in %d of %d rounds", survivors, round)
	}
	if ended.Load() < enough {
		t.Errorf("only %d records were ended while they were renewed", ended.Load())
	}
}
