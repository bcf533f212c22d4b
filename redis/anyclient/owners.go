package anyclient

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/redact"
	"github.com/flamego/session/redis/internal/errtext"
	"github.com/flamego/session/redis/internal/script"
)

var (
	_ session.OwnerIndex  = (*backend)(nil)
	_ session.OwnerIniter = (*backend)(nil)
)

// InitOwners checks that the user may do what the index needs.
func (b *backend) InitOwners(ctx context.Context) error { return b.start(ctx, script.CheckOwners) }

// insertOwned, swapOwned and renameOwned are the writes of records that have an owner, or had
// one.
func (b *backend) insertOwned(ctx context.Context, sid string, rec session.Record) (bool, error) {
	rec.Former = "" // it replaces nothing
	return b.writeOwned(func() (bool, error) {
		sets, left := script.Sets(b.prefix, rec.Owner, "", rec.TTL)
		return b.yes(ctx, once, script.InsertOwned, append([]string{b.prefix + sid}, sets...),
			string(rec.Data), millis(rec.TTL), strconv.FormatInt(left, 10), b.prefix, sid)
	}, func() (bool, error) {
		return b.writeApart(ctx, sid, sid, rec, func(rec session.Record) (bool, error) { return b.Insert(ctx, sid, rec) })
	})
}

func (b *backend) swapOwned(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	if rec.Former == rec.Owner {
		rec.Former = ""
	}
	return b.writeOwned(func() (bool, error) {
		want, how := script.Expected(old)
		sets, left := script.Sets(b.prefix, rec.Owner, rec.Former, rec.TTL)
		return b.yes(ctx, once, script.SwapOwned, append([]string{b.prefix + sid}, sets...),
			want, how, string(rec.Data), millis(rec.TTL), strconv.FormatInt(left, 10), b.prefix, sid)
	}, func() (bool, error) {
		return b.writeApart(ctx, sid, sid, rec, func(rec session.Record) (bool, error) { return b.Swap(ctx, sid, old, rec) })
	})
}

func (b *backend) renameOwned(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	return b.writeOwned(func() (bool, error) {
		want, how := script.Expected(old)
		sets, left := script.Sets(b.prefix, rec.Owner, rec.Former, rec.TTL)
		return b.yes(ctx, once, script.RenameOwned, append([]string{b.prefix + sid, b.prefix + newSID}, sets...),
			want, how, string(rec.Data), millis(rec.TTL), strconv.FormatInt(left, 10), b.prefix, newSID, sid)
	}, func() (bool, error) {
		return b.writeApart(ctx, sid, newSID, rec, func(rec session.Record) (bool, error) { return b.Rename(ctx, sid, newSID, old, rec) })
	})
}

// writeOwned makes a write by one script, or else apart: if the index may be in other slots than the
// records, or in their slot, which is moving, so that some of the keys are at another server.
func (b *backend) writeOwned(one, apart func() (bool, error)) (bool, error) {
	if !b.twoSteps {
		ok, err := one()
		if said, _ := errtext.Reply(err); errtext.Code(said) != "TRYAGAIN" {
			return ok, err
		}
	}
	return apart()
}

// writeApart writes a record and its index by a script for each. The entry comes first, and that of
// the former owner goes last, so that a live record always has its entry. An entry too many
// goes when its time is over.
func (b *backend) writeApart(
	ctx context.Context, sid, newSID string, rec session.Record, write func(session.Record) (bool, error),
) (bool, error) {
	if rec.Owner != "" {
		_, err := b.yes(ctx, repeatable, script.Enter, []string{script.SetKey(b.prefix, rec.Owner)},
			newSID, strconv.FormatInt(script.EntryMillis(rec.TTL), 10))
		if err != nil {
			return false, redact.New(err.Error(), errors.Join(session.ErrNotApplied, err))
		}
	}
	ok, err := write(session.Record{Data: rec.Data, TTL: rec.TTL})
	if ok && rec.Former != "" {
		_, _ = b.yes(ctx, repeatable, script.Leave, []string{script.SetKey(b.prefix, rec.Former)}, sid)
	}
	return ok, err
}

// Owned is one script, or else one for the members of the set and one for each of their
// records.
func (b *backend) Owned(ctx context.Context, owner string) (owned []session.OwnedRecord, err error) {
	key := []string{script.SetKey(b.prefix, owner)}
	if b.twoSteps {
		reply, err := b.call(ctx, repeatable, script.Members, key)
		if err != nil {
			return nil, err
		}
		sids, err := script.Texts(reply)
		if err != nil {
			return nil, err
		}
		return b.loadMembers(ctx, sids)
	}
	reply, err := b.call(ctx, repeatable, script.List, key, b.prefix)
	if err != nil {
		return nil, err
	}
	err = script.Listed(reply, func(sid string, data []byte, left time.Duration) {
		owned = append(owned, session.OwnedRecord{ID: sid, Record: session.Record{Data: data, TTL: left}})
	})
	return owned, err
}

// listParallel is how many records of an owner are asked for at the same time, where each is
// asked for alone.
const listParallel = 16

// loadMembers returns those of the records that there are.
func (b *backend) loadMembers(ctx context.Context, sids []string) ([]session.OwnedRecord, error) {
	var (
		mu    sync.Mutex
		owned []session.OwnedRecord
		first error
		wg    sync.WaitGroup
	)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := make(chan string)
	for range min(len(sids), listParallel) {
		wg.Go(func() {
			for sid := range next {
				rec, found, err := b.Load(ctx, sid)
				if said, _ := errtext.Reply(err); errtext.Code(said) == "WRONGTYPE" { // a key of the app
					continue
				}
				mu.Lock()
				switch {
				case err != nil && first == nil:
					first = err
					cancel()
				case found && rec.Data != nil: // else it is a key of the app, too
					owned = append(owned, session.OwnedRecord{ID: sid, Record: rec})
				}
				mu.Unlock()
			}
		})
	}
	for _, sid := range sids {
		next <- sid
	}
	close(next)
	wg.Wait()
	if first != nil {
		return nil, first
	}
	return owned, nil
}
