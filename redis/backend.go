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
	close   func() error  // nil for a client of the Config
	retries retries       // zero for a client of the Config, which has retries of its own
	slots   chan struct{} // holds an element for each call under way; nil if calls must be watched
	lookups *together.Group[answer]
}

// ifSame begins a script, and ends it unless the first key holds the bytes that the
// caller has read: see expected.
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

	// SET comes before DEL, because SET fails when memory is full.
	rename = redis.NewScript(ifSame + `
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
redis.call('DEL', KEYS[1])
return 1`)

	remove = redis.NewScript(ifSame + `
return redis.call('DEL', KEYS[1])`)

	// Since Redis 7, PEXPIRE with GT would do. A TTL of -1 means that the key does
	// not expire, -2 that there is no key.
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

// Rename is one step if both keys are in one slot, and two steps otherwise: see the
// package doc.
func (b *backend) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	want, how := expected(old)
	keys := []string{b.prefix + sid, b.prefix + newSID}
	switch b.client.(type) {
	case *redis.Client, *redis.ClusterClient:
		// The server of the first key refuses a script whose second key is in another
		// slot. Only these clients get that answer: others, such as a Ring, may spread
		// keys over servers that know no slots.
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

// Close closes the client if the store has made it. A second call does nothing.
func (b *backend) Close() error {
	if b.close == nil {
		return nil
	}
	// An operation that has been given up may have closed its connection by itself.
	if err := b.close(); !errors.Is(err, redis.ErrClosed) && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// eval runs a script and reports whether it returned 1.
func (b *backend) eval(ctx context.Context, s *redis.Script, keys []string, args ...interface{}) (bool, error) {
	n, err := run(ctx, b, func(ctx context.Context) (int, error) { return s.Run(ctx, b.client, keys, args...).Int() })
	return n == 1, err
}

// expected returns what ifSame compares with, and how: the bytes, or their hash if they
// are so many that to send them would cost more. SHA-1 is enough, as the hash protects
// nothing: an attacker who made two versions of a session with the same hash would only
// hide a change from himself.
func expected(old []byte) (want, how string) {
	if len(old) <= 4096 {
		return string(old), "bytes"
	}
	sum := sha1.Sum(old)
	return hex.EncodeToString(sum[:]), "sha1"
}

// millis is d in milliseconds, and at least 1: Redis refuses to let a key expire at once.
func millis(d time.Duration) int64 { return max(ttl.Millis(d), 1) }
