package redis

import (
	"context"
	"errors"
	"time"

	"github.com/go-redis/redis/v8"

	"github.com/flamego/session"
	"github.com/flamego/session/redis/internal/errtext"
	"github.com/flamego/session/redis/internal/script"
)

// loadBatch is how many loads go in one round trip at most.
const loadBatch = 64

// answer is what Redis has under a key.
type answer struct {
	data  []byte
	left  time.Duration
	found bool
	err   error // concerns this key alone
}

// Load may find a key without an expiry, which the store has not written. It reports a
// record with no time left. The store then takes the record for one that was not extended
// for long, and extends it. With that, the key has an expiry.
func (b *backend) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	a, err := b.load(ctx, b.prefix+sid)
	if err == nil {
		err = a.err
	}
	return session.Record{Data: a.data, TTL: a.left}, a.found, err
}

// load shares a round trip with other loads if nobody has to watch it.
func (b *backend) load(ctx context.Context, key string) (answer, error) {
	if b.endsByDeadline(ctx) {
		a, err := b.lookups.Get(ctx, key)
		return a, errtext.Redacted(contextErr(ctx, err))
	}
	fetch := b.fetch
	if b.scripted {
		fetch = b.fetchByScript
	}
	answers, err := run(ctx, b, repeatable, func(ctx context.Context) ([]answer, error) { return fetch(ctx, []string{key}) })
	if err != nil {
		return answer{}, err
	}
	return answers[0], nil
}

// errTogether is the error of a shared round trip. The error is not retryable, because an
// answer that took longer than ReadTimeout would do so again. Instead, each load goes
// alone, with retries of its own.
var errTogether = errors.New("several look-ups failed together")

// loadTogether loads keys in one round trip, which waits for a connection.
func (b *backend) loadTogether(ctx context.Context, keys []string) ([]answer, error) {
	return run(ctx, b, repeatable, func(ctx context.Context) ([]answer, error) {
		answers, err := b.fetch(ctx, keys)
		if err != nil && len(keys) > 1 {
			err = errTogether
		}
		return answers, err
	})
}

// fetch loads keys in one round trip.
func (b *backend) fetch(ctx context.Context, keys []string) ([]answer, error) {
	pipe := b.client.Pipeline()
	gets, ttls := make([]*redis.StringCmd, len(keys)), make([]*redis.DurationCmd, len(keys))
	for i, key := range keys {
		gets[i], ttls[i] = pipe.Get(ctx, key), pipe.PTTL(ctx, key)
	}
	if _, err := pipe.Exec(ctx); retryable(err) {
		return nil, err
	}
	// Any other error is that of a single command, which also returns it below.
	answers := make([]answer, len(keys))
	for i := range keys {
		data, err := gets[i].Bytes()
		if err == nil {
			err = ttls[i].Err()
		}
		reply, isReply := errtext.Reply(err)
		switch ttl := ttls[i].Val(); {
		case errors.Is(err, redis.Nil), err == nil && ttl == -2: // it may expire between the two
		case err == nil:
			answers[i] = answer{data: data, left: max(ttl, 0), found: true}
		case b.noPrefix && errtext.Code(reply) == "WRONGTYPE":
			answers[i] = keyOfApp
		case isReply:
			answers[i].err = errtext.Redacted(err)
		default:
			return nil, err
		}
	}
	return answers, nil
}

// keyOfApp is the answer for a key of another kind, where there may be such. A record
// without data is no session: see session.StoreConfig.SharedKeys.
var keyOfApp = answer{found: true}

// fetchByScript loads one key.
func (b *backend) fetchByScript(ctx context.Context, keys []string) ([]answer, error) {
	reply, err := scriptedLoad.Run(ctx, b.client, keys).Result()
	if text, _ := errtext.Reply(err); b.noPrefix && errtext.Code(text) == "WRONGTYPE" {
		return []answer{keyOfApp}, nil
	}
	if err != nil {
		return nil, err
	}
	a, err := loaded(reply)
	return []answer{a}, err
}

// loaded is the answer that the script has given.
func loaded(reply interface{}) (answer, error) {
	data, left, found, err := script.Loaded(reply)
	return answer{data: data, left: left, found: found}, err
}
