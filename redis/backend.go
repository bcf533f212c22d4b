package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/go-redis/redis/v8"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/liveness"
	"github.com/flamego/session/internal/redact"
	"github.com/flamego/session/internal/starting"
	"github.com/flamego/session/internal/together"
	"github.com/flamego/session/redis/internal/errtext"
	"github.com/flamego/session/redis/internal/script"
)

var (
	_ session.Backend     = (*backend)(nil)
	_ session.ServerClock = (*backend)(nil)
	_ io.Closer           = (*backend)(nil)
)

type backend struct {
	client     redis.UniversalClient
	prefix     string
	noPrefix   bool            // Config.NoKeyPrefix
	close      func() error    // nil for a client of the Config
	conns      *liveness.Conns // nil for a client of the Config
	retries    retries
	ownRetries bool // the client has retries of its own, and no others are made of what is made once
	// scripted says that all is done by scripts, as a [cluster] finds the server of a script.
	scripted bool
	apart    bool          // the index of owners is in other slots than the records: see InitOwners
	slots    chan struct{} // holds an element for each call under way; nil if calls must be watched
	lookups  *together.Group[answer]
}

var (
	swap   = redis.NewScript(script.Swap)
	rename = redis.NewScript(script.Rename)
	remove = redis.NewScript(script.Remove)
	extend = redis.NewScript(script.Extend)
	check  = redis.NewScript(script.Check)
	now    = redis.NewScript(script.Time)

	// For a Cluster: see backend.scripted.
	scriptedLoad   = redis.NewScript(script.Load)
	scriptedInsert = redis.NewScript(script.Insert)
	scriptedDelete = redis.NewScript(script.Delete)
)

func (b *backend) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	if rec.Owner != "" {
		return b.insertOwned(ctx, sid, rec)
	}
	return b.insert(ctx, once, sid, rec)
}

func (b *backend) insert(ctx context.Context, kind kind, sid string, rec session.Record) (bool, error) {
	data, left := string(rec.Data), time.Duration(script.Millis(rec.TTL))*time.Millisecond
	if b.scripted {
		return b.eval(ctx, kind, scriptedInsert, []string{b.prefix + sid}, data, left.Milliseconds())
	}
	return run(ctx, b, kind, func(ctx context.Context) (bool, error) {
		return b.client.SetNX(ctx, b.prefix+sid, data, left).Result()
	})
}

func (b *backend) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	if rec.Owner != "" || rec.Former != "" {
		return b.swapOwned(ctx, sid, old, rec)
	}
	want, how := script.Expected(old)
	return b.eval(ctx, once, swap, []string{b.prefix + sid}, want, how, string(rec.Data), script.Millis(rec.TTL))
}

// Rename is one step if both keys are in one slot, and two steps otherwise: see the
// package doc.
func (b *backend) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	if rec.Owner != "" || rec.Former != "" {
		return b.renameOwned(ctx, sid, newSID, old, rec)
	}
	want, how := script.Expected(old)
	keys := []string{b.prefix + sid, b.prefix + newSID}
	if b.knowsSlots() {
		ok, err := b.eval(ctx, once, rename, keys, want, how, string(rec.Data), script.Millis(rec.TTL))
		// While a slot moves, the old key may be at one server, and the new key has to be at
		// the other: TRYAGAIN.
		reply, _ := errtext.Reply(err)
		if code := errtext.Code(reply); code != "CROSSSLOT" && code != "TRYAGAIN" {
			return ok, err
		}
	}
	ok, err := b.eval(ctx, once, remove, keys[:1], want, how)
	if !ok || err != nil {
		return false, err
	}
	// The old record is gone, so no error says from here on that nothing was done. The new
	// ID is known to nobody else. So the insert may be repeated, and what is there is ours.
	if ok, err = b.insert(ctx, repeatable, newSID, rec); ok || err != nil {
		return ok, err
	}
	now, found, err := b.Load(ctx, newSID)
	return found && bytes.Equal(now.Data, rec.Data), err
}

// knowsSlots reports whether the server of the first key of a script refuses the script if
// another key is in another slot. Only these clients get that answer: others, such as a
// Ring, may spread keys over servers that know no slots.
func (b *backend) knowsSlots() bool {
	switch b.client.(type) {
	case *redis.Client, cluster:
		return true
	}
	return false
}

// RenamesInSteps reports whether a Rename may take two steps: with any client but that of one server.
func (b *backend) RenamesInSteps() bool {
	_, one := b.client.(*redis.Client)
	return !one
}

func (b *backend) Extend(ctx context.Context, sid string, left time.Duration) error {
	_, err := b.eval(ctx, repeatable, extend, []string{b.prefix + sid}, script.Millis(left))
	return err
}

func (b *backend) Delete(ctx context.Context, sid string) error {
	if b.scripted {
		_, err := b.eval(ctx, repeatable, scriptedDelete, []string{b.prefix + sid})
		return err
	}
	_, err := run(ctx, b, repeatable, func(ctx context.Context) (int64, error) { return b.client.Del(ctx, b.prefix+sid).Result() })
	return err
}

// Sweep does nothing: Redis removes what has expired.
func (b *backend) Sweep(context.Context) (bool, error) { return false, nil }

// ServerTime fails where the user has no right to TIME.
func (b *backend) ServerTime(ctx context.Context) (time.Time, error) {
	ms, err := run(ctx, b, repeatable, func(ctx context.Context) (int64, error) {
		return now.Run(ctx, b.client, []string{b.prefix + script.CheckKey}).Int64()
	})
	return time.UnixMilli(ms), err
}

// Close closes the client if the store has made it. A second call does nothing.
func (b *backend) Close() error {
	if b.close == nil {
		return nil
	}
	// An operation that has been given up may have closed its connection by itself.
	if err := b.close(); !errors.Is(err, redis.ErrClosed) && !errors.Is(err, net.ErrClosed) {
		return errtext.Redacted(err)
	}
	return nil
}

// eval runs a script and reports whether it returned 1.
func (b *backend) eval(ctx context.Context, kind kind, s *redis.Script, keys []string, args ...interface{}) (bool, error) {
	n, err := run(ctx, b, kind, func(ctx context.Context) (int, error) { return s.Run(ctx, b.client, keys, args...).Int() })
	return n == 1, err
}

// start checks that the server does what the store needs. It waits for a server that is
// still starting.
func (b *backend) start(ctx context.Context) error {
	return starting.Wait(ctx, b.check, errtext.MayStart)
}

// check runs a script by its text and by its hash.
func (b *backend) check(ctx context.Context) error {
	keys := []string{b.prefix + script.CheckKey}
	type evaluate = func(ctx context.Context, c redis.Scripter, keys []string, args ...interface{}) *redis.Cmd
	for _, eval := range []evaluate{check.Eval, check.EvalSha} {
		refused, err := run(ctx, b, repeatable, func(ctx context.Context) (string, error) {
			return eval(ctx, b.client, keys).Text()
		})
		if reply, _ := errtext.Reply(err); errtext.Code(reply) == "NOSCRIPT" { // another server of the Cluster
			continue
		}
		if err = refusal(refused, err); err != nil {
			return b.withHint(err)
		}
	}
	return nil
}

// withHint says what a client may lack that gets no reply.
func (b *backend) withHint(err error) error {
	c, ok := b.client.(cluster)
	if _, isReply := errtext.Reply(err); !ok || isReply || c.Options().ClusterSlots != nil {
		return err
	}
	return redact.New(err.Error()+" (on Redis 7 a ClusterClient needs ClusterSlots: see the doc of the package)", err)
}

// refusal is the error of a check, given its reply.
func refusal(refused string, err error) error {
	switch reply, _ := errtext.Reply(err); {
	case errtext.IsRefusal(reply):
		return redact.New("redis: "+errtext.Refusal(reply)+": "+err.Error(), err)
	case err != nil:
		return redact.New("redis: connect: "+err.Error(), err)
	case refused != "OK":
		return fmt.Errorf("redis: the server refuses %s to this user, and the store needs it", script.Command(refused))
	}
	return nil
}
