package redis

import (
	"context"
	"crypto/sha1" // what the server has; see expected
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/go-redis/redis/v8"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/together"
	"github.com/flamego/session/internal/ttl"
)

var (
	_ session.Backend = (*backend)(nil)
	_ io.Closer       = (*backend)(nil)
)

type backend struct {
	client  redis.UniversalClient
	prefix  string
	close   func() error  // nil for a client that is not ours
	retries retries       // none for a client that is not ours, which has its own
	turns   chan struct{} // one for each connection, nil for a client that is not all ours
	lookups *together.Group[answer]
}

// ifSame ends a script unless the first key holds what the caller has read.
const ifSame = `
local data = redis.call('GET', KEYS[1])
if not data then return 0 end
if ARGV[2] == 'sha1' then data = redis.sha1hex(data) end
if data ~= ARGV[1] then return 0 end
`

var (
	swap = redis.NewScript(ifSame + `
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1`)

	// SET comes first: when memory is full it is SET that fails.
	rename = redis.NewScript(ifSame + `
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
redis.call('DEL', KEYS[1])
return 1`)

	remove = redis.NewScript(ifSame + `
return redis.call('DEL', KEYS[1])`)

	// PEXPIRE has GT for this only since Redis 7. A TTL of -1 is none at all,
	// -2 no key.
	extend = redis.NewScript(`
local ttl = redis.call('PTTL', KEYS[1])
if ttl == -1 or ttl >= 0 and ttl < tonumber(ARGV[1]) then
	return redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 0`)
)

func (b *backend) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	data, left := string(rec.Data), time.Duration(millis(rec.TTL))*time.Millisecond
	return run(ctx, b, func(ctx context.Context) (bool, error) {
		return b.client.SetNX(ctx, b.prefix+sid, data, left).Result()
	})
}

func (b *backend) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	want, how := expected(old)
	return b.eval(ctx, swap, []string{b.prefix + sid}, want, how, string(rec.Data), millis(rec.TTL))
}

// Rename is one step where both keys are on one server, else two; see the
// package doc.
func (b *backend) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	want, how := expected(old)
	keys := []string{b.prefix + sid, b.prefix + newSID}
	switch b.client.(type) {
	case *redis.Client, *redis.ClusterClient:
		// Whoever has the first key refuses to write a second one in another slot.
		// Other clients may spread keys over servers that know no slots.
		ok, err := b.eval(ctx, rename, keys, want, how, string(rec.Data), millis(rec.TTL))
		if err == nil || !strings.HasPrefix(err.Error(), "CROSSSLOT") {
			return ok, err
		}
	}
	ok, err := b.eval(ctx, remove, keys[:1], want, how)
	if !ok || err != nil {
		return false, err
	}
	return b.Insert(ctx, newSID, rec)
}

func (b *backend) Extend(ctx context.Context, sid string, left time.Duration) error {
	_, err := b.eval(ctx, extend, []string{b.prefix + sid}, millis(left))
	return err
}

func (b *backend) Delete(ctx context.Context, sid string) error {
	_, err := run(ctx, b, func(ctx context.Context) (int64, error) { return b.client.Del(ctx, b.prefix+sid).Result() })
	return err
}

// Sweep does nothing: Redis removes what has expired.
func (b *backend) Sweep(context.Context) (bool, error) { return false, nil }

// Close closes the client if it is ours; a second time it does nothing.
func (b *backend) Close() error {
	if b.close == nil {
		return nil
	}
	// A connection that an operation given up has closed by itself is closed.
	if err := b.close(); !errors.Is(err, redis.ErrClosed) && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (b *backend) eval(ctx context.Context, s *redis.Script, keys []string, args ...interface{}) (bool, error) {
	n, err := run(ctx, b, func(ctx context.Context) (int, error) { return s.Run(ctx, b.client, keys, args...).Int() })
	return n == 1, err
}

// expected is what ifSame compares with: the bytes themselves, or the hash of
// many, which would cost more to send. It is no guard against an attacker: who
// makes two versions of his own session collide hides a change from himself.
func expected(old []byte) (want, how string) {
	if len(old) <= 4096 {
		return string(old), "bytes"
	}
	sum := sha1.Sum(old)
	return hex.EncodeToString(sum[:]), "sha1"
}

// millis is d in milliseconds, and at least 1: Redis refuses to let a key expire at once.
func millis(d time.Duration) int64 { return max(ttl.Millis(d), 1) }
