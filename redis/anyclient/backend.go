package anyclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/attempts"
	"github.com/flamego/session/internal/backoff"
	"github.com/flamego/session/internal/redact"
	"github.com/flamego/session/redis/internal/errtext"
	"github.com/flamego/session/redis/internal/script"
)

var (
	_ session.Backend     = (*backend)(nil)
	_ session.ServerClock = (*backend)(nil)
)

type backend struct {
	eval     Eval
	prefix   string
	noPrefix bool // Config.NoKeyPrefix
	// twoSteps says that two keys may be in two slots. Then a rename takes two steps, and the
	// index of owners is apart from the records.
	twoSteps bool
}

// Load may find a key without an expiry, which the store has not written. Such a record has
// a TTL of 0, so that the store extends it.
func (b *backend) Load(ctx context.Context, sid string) (rec session.Record, found bool, err error) {
	reply, err := b.call(ctx, repeatable, script.Load, []string{b.prefix + sid})
	if text, _ := errtext.Reply(err); b.noPrefix && errtext.Code(text) == "WRONGTYPE" {
		return rec, true, nil // a key of the app; no data is no session: see session.StoreConfig.SharedKeys
	}
	if err == nil {
		rec.Data, rec.TTL, found, err = script.Loaded(reply)
	}
	return rec, found, err
}

func (b *backend) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	if rec.Owner != "" {
		return b.insertOwned(ctx, sid, rec)
	}
	return b.yes(ctx, once, script.Insert, []string{b.prefix + sid}, string(rec.Data), millis(rec.TTL))
}

func (b *backend) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	if rec.Owner != "" || rec.Former != "" {
		return b.swapOwned(ctx, sid, old, rec)
	}
	want, how := script.Expected(old)
	return b.yes(ctx, once, script.Swap, []string{b.prefix + sid}, want, how, string(rec.Data), millis(rec.TTL))
}

// Rename takes two steps on a Cluster. The old record is deleted first, so that the old ID is
// dead whatever happens. From then on no error says that nothing was done. The new ID is
// known to nobody else, so the insert may be repeated, and what is there is ours.
func (b *backend) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	if rec.Owner != "" || rec.Former != "" {
		return b.renameOwned(ctx, sid, newSID, old, rec)
	}
	want, how := script.Expected(old)
	keys := []string{b.prefix + sid, b.prefix + newSID}
	if !b.twoSteps {
		ok, err := b.yes(ctx, once, script.Rename, keys, want, how, string(rec.Data), millis(rec.TTL))
		// While a slot moves, the old key may be at one server, and the new key has to be at
		// the other.
		if said, _ := errtext.Reply(err); errtext.Code(said) != "TRYAGAIN" {
			return ok, err
		}
	}
	ok, err := b.yes(ctx, once, script.Remove, keys[:1], want, how)
	if !ok || err != nil {
		return false, err
	}
	ok, err = b.yes(ctx, repeatable, script.Insert, keys[1:], string(rec.Data), millis(rec.TTL))
	if ok || err != nil {
		return ok, err
	}
	now, found, err := b.Load(ctx, newSID)
	return found && bytes.Equal(now.Data, rec.Data), err
}

// RenamesInSteps reports whether a Rename takes two steps.
func (b *backend) RenamesInSteps() bool { return b.twoSteps }

func (b *backend) Extend(ctx context.Context, sid string, left time.Duration) error {
	_, err := b.yes(ctx, repeatable, script.Extend, []string{b.prefix + sid}, millis(left))
	return err
}

func (b *backend) Delete(ctx context.Context, sid string) error {
	_, err := b.yes(ctx, repeatable, script.Delete, []string{b.prefix + sid})
	return err
}

// Sweep does nothing: Redis removes what has expired.
func (b *backend) Sweep(context.Context) (bool, error) { return false, nil }

// ServerTime fails where the user has no right to TIME.
func (b *backend) ServerTime(ctx context.Context) (time.Time, error) {
	reply, err := b.call(ctx, repeatable, script.Time, []string{b.prefix + script.CheckKey})
	if err != nil {
		return time.Time{}, err
	}
	ms, err := script.Number(reply)
	return time.UnixMilli(ms), err
}

func millis(d time.Duration) string { return strconv.FormatInt(script.Millis(d), 10) }

// yes runs a script that says yes or no.
func (b *backend) yes(ctx context.Context, kind kind, text string, keys []string, args ...string) (bool, error) {
	reply, err := b.call(ctx, kind, text, keys, args...)
	if err != nil {
		return false, err
	}
	return script.IsYes(reply)
}

// kind says how often a script may be run.
type kind bool

const (
	// repeatable is a script that may have been run before.
	repeatable kind = false
	// once is a script that is run again only if it was surely not run.
	once kind = true
)

// call runs a script, and runs it again while that may help and there is time. All errors of
// the client come from here, so here they get a text that is safe to show. The error of a
// script that is run once wraps session.ErrNotApplied if nothing was done.
func (b *backend) call(ctx context.Context, kind kind, text string, keys []string, args ...string) (any, error) {
	const tries = 4
	for try := 1; ; try++ {
		reply, err := b.watched(ctx, text, keys, args)
		if err == nil {
			return reply, nil
		}
		said, isReply := errtext.Reply(err)
		again := isReply && errtext.IsPassing(said) || !isReply && kind == repeatable
		if again && try < tries && backoff.Pause(ctx, 2*try+1, 100*time.Millisecond) == nil {
			attempts.Again(ctx)
			continue
		}
		if kind == once && isReply && errtext.IsNotDone(said) {
			return nil, redact.New(errtext.Text(err), errors.Join(session.ErrNotApplied, err))
		}
		return nil, errtext.Redacted(err)
	}
}

// watched runs a script, and returns when ctx is done even if Eval goes on, as not every
// client heeds a context while it waits for an answer.
func (b *backend) watched(ctx context.Context, text string, keys, args []string) (any, error) {
	type result struct {
		reply  any
		err    error
		thrown any
	}
	done := make(chan result, 1)
	go func() {
		r := result{}
		defer func() {
			r.thrown = recover()
			done <- r
		}()
		r.reply, r.err = b.eval(ctx, text, keys, args...)
	}()
	select {
	case r := <-done:
		if r.thrown != nil {
			return nil, redact.New(fmt.Sprintf("the client panicked with a %T", r.thrown), nil)
		}
		return r.reply, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
