package redis

import (
	"context"
	"errors"
	"time"

	"github.com/go-redis/redis/v8"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/redact"
	"github.com/flamego/session/internal/starting"
	"github.com/flamego/session/redis/internal/errtext"
	"github.com/flamego/session/redis/internal/script"
)

var (
	_ session.OwnerIndex  = (*backend)(nil)
	_ session.OwnerIniter = (*backend)(nil)
)

var (
	insertOwned = redis.NewScript(script.InsertOwned)
	swapOwned   = redis.NewScript(script.SwapOwned)
	renameOwned = redis.NewScript(script.RenameOwned)
	list        = redis.NewScript(script.List)
	enter       = redis.NewScript(script.Enter)
	leave       = redis.NewScript(script.Leave)
	members     = redis.NewScript(script.Members)
	checkOwners = redis.NewScript(script.CheckOwners)
)

// InitOwners checks that the user may do what the index needs. The server says whether
// records and index are in one slot.
func (b *backend) InitOwners(ctx context.Context) error {
	return starting.Wait(ctx, b.checkOwners, errtext.MayStart)
}

func (b *backend) checkOwners(ctx context.Context) error {
	check := func(keys ...string) (string, error) {
		return run(ctx, b, repeatable, func(ctx context.Context) (string, error) {
			return checkOwners.Run(ctx, b.client, keys).Text()
		})
	}
	key := b.prefix + script.CheckKey
	b.apart = !b.knowsSlots()
	if !b.apart {
		refused, err := check(key, b.prefix+script.CheckOtherKey)
		reply, _ := errtext.Reply(err)
		if b.apart = errtext.Code(reply) == "CROSSSLOT"; !b.apart {
			return refusal(refused, err)
		}
	}
	return refusal(check(key))
}

// insertOwned, swapOwned and renameOwned are the writes of records that have an owner, or had
// one.
func (b *backend) insertOwned(ctx context.Context, sid string, rec session.Record) (bool, error) {
	rec.Former = "" // it replaces nothing
	return b.writeOwned(func() (bool, error) {
		sets, left := script.Sets(b.prefix, rec.Owner, "", rec.TTL)
		return b.eval(ctx, once, insertOwned, append([]string{b.prefix + sid}, sets...),
			string(rec.Data), script.Millis(rec.TTL), left, b.prefix, sid)
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
		return b.eval(ctx, once, swapOwned, append([]string{b.prefix + sid}, sets...),
			want, how, string(rec.Data), script.Millis(rec.TTL), left, b.prefix, sid)
	}, func() (bool, error) {
		return b.writeApart(ctx, sid, sid, rec, func(rec session.Record) (bool, error) { return b.Swap(ctx, sid, old, rec) })
	})
}

func (b *backend) renameOwned(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	return b.writeOwned(func() (bool, error) {
		want, how := script.Expected(old)
		sets, left := script.Sets(b.prefix, rec.Owner, rec.Former, rec.TTL)
		return b.eval(ctx, once, renameOwned, append([]string{b.prefix + sid, b.prefix + newSID}, sets...),
			want, how, string(rec.Data), script.Millis(rec.TTL), left, b.prefix, newSID, sid)
	}, func() (bool, error) {
		return b.writeApart(ctx, sid, newSID, rec, func(rec session.Record) (bool, error) { return b.Rename(ctx, sid, newSID, old, rec) })
	})
}

// writeOwned makes a write by one script, or else apart: if the index is in other slots than the
// records, or in their slot, which is moving, so that some of the keys are at another server.
func (b *backend) writeOwned(one, apart func() (bool, error)) (bool, error) {
	if !b.apart {
		ok, err := one()
		if reply, _ := errtext.Reply(err); errtext.Code(reply) != "TRYAGAIN" {
			return ok, err
		}
	}
	return apart()
}

// writeApart writes a record and its index by a script for each. The entry comes first, and that of
// the former owner goes last, so that a live record always has its entry. An entry too many
// goes when its time is over. The record is written as one that has no owner, and so by the scripts
// for that.
func (b *backend) writeApart(
	ctx context.Context, sid, newSID string, rec session.Record, write func(session.Record) (bool, error),
) (bool, error) {
	if rec.Owner != "" {
		_, err := b.eval(ctx, repeatable, enter, []string{script.SetKey(b.prefix, rec.Owner)},
			newSID, script.EntryMillis(rec.TTL))
		if err != nil {
			return false, redact.New(err.Error(), errors.Join(session.ErrNotApplied, err))
		}
	}
	ok, err := write(session.Record{Data: rec.Data, TTL: rec.TTL})
	if ok && rec.Former != "" {
		_, _ = b.eval(ctx, repeatable, leave, []string{script.SetKey(b.prefix, rec.Former)}, sid)
	}
	return ok, err
}

// Owned is one script, or else two steps: the members of the set, and then their records.
func (b *backend) Owned(ctx context.Context, owner string) (owned []session.OwnedRecord, err error) {
	found := func(sid string, data []byte, left time.Duration) {
		owned = append(owned, session.OwnedRecord{ID: sid, Record: session.Record{Data: data, TTL: left}})
	}
	key := script.SetKey(b.prefix, owner)
	if !b.apart {
		reply, err := b.ask(ctx, list, key, b.prefix)
		if err == nil {
			err = script.Listed(reply, found)
		}
		return owned, err
	}
	reply, err := b.ask(ctx, members, key)
	if err != nil {
		return nil, err
	}
	sids, err := script.Texts(reply)
	for len(sids) > 0 && err == nil {
		n := min(len(sids), listBatch)
		err = b.loadMembers(ctx, sids[:n], found)
		sids = sids[n:]
	}
	return owned, err
}

// listBatch is how many records of an owner go in one round trip at most, where the records
// are in other slots than the index.
const listBatch = 256

// loadMembers calls found with those of the records that there are.
func (b *backend) loadMembers(ctx context.Context, sids []string, found func(string, []byte, time.Duration)) error {
	keys := make([]string, len(sids))
	for i, sid := range sids {
		keys[i] = b.prefix + sid
	}
	fetch := b.fetch
	if b.scripted {
		fetch = b.fetchByScripts
	}
	answers, err := run(ctx, b, repeatable, func(ctx context.Context) ([]answer, error) { return fetch(ctx, keys) })
	for i, a := range answers {
		reply, _ := errtext.Reply(a.err)
		switch {
		case errtext.Code(reply) == "WRONGTYPE": // a key of the app
		case a.err != nil:
			return a.err
		case a.found && a.data != nil: // else it is keyOfApp
			found(sids[i], a.data, a.left)
		}
	}
	return err
}

// fetchByScripts loads keys of many slots in one flight. A key that cannot be loaded so, as
// when its slot has moved, is loaded alone.
func (b *backend) fetchByScripts(ctx context.Context, keys []string) ([]answer, error) {
	pipe := b.client.Pipeline()
	cmds := make([]*redis.Cmd, len(keys))
	for i := range keys {
		cmds[i] = scriptedLoad.EvalSha(ctx, pipe, keys[i:i+1])
	}
	_, _ = pipe.Exec(ctx) // each command returns its error below
	answers := make([]answer, len(keys))
	for i := range keys {
		var err error
		if cmds[i].Err() == nil {
			answers[i], err = loaded(cmds[i].Val())
		} else {
			var one []answer
			if one, err = b.fetchByScript(ctx, keys[i:i+1]); err == nil {
				answers[i] = one[0]
			}
		}
		if reply, isReply := errtext.Reply(err); isReply && !errtext.IsPassing(reply) {
			answers[i].err = errtext.Redacted(err)
		} else if err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// ask runs a script on the set of an owner, and returns its reply.
func (b *backend) ask(ctx context.Context, s *redis.Script, key string, args ...interface{}) (interface{}, error) {
	return run(ctx, b, repeatable, func(ctx context.Context) (interface{}, error) {
		return s.Run(ctx, b.client, []string{key}, args...).Result()
	})
}
