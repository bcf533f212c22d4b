package redis

import (
	"context"
	"errors"

	"github.com/go-redis/redis/v8"

	"github.com/flamego/session"
)

// maxTogether is how many loads go in one round trip at most.
const maxTogether = 64

// answer is what there is under a key.
type answer struct {
	rec   session.Record
	found bool
	err   error // of this key alone
}

// Load takes a key without an expiry, which only somebody else can have written,
// for a record with no time left, so that it gets an expiry at the next chance.
func (b *backend) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	a, err := b.lookUp(ctx, b.prefix+sid)
	if err == nil {
		err = a.err
	}
	return a.rec, a.found, err
}

func (b *backend) lookUp(ctx context.Context, key string) (answer, error) {
	if b.direct(ctx) {
		a, err := b.lookups.Get(ctx, key)
		return a, reason(ctx, err)
	}
	answers, err := watched(ctx, b, func(ctx context.Context) ([]answer, error) { return b.fetch(ctx, []string{key}) })
	if err != nil {
		return answer{}, err
	}
	return answers[0], nil
}

// errTogether says that several keys were asked for in vain. Each has retries of its
// own: what is too much for one ReadTimeout would be that again.
var errTogether = errors.New("several look-ups failed together")

// look is fetch with a connection.
func (b *backend) look(ctx context.Context, keys []string) ([]answer, error) {
	return run(ctx, b, func(ctx context.Context) ([]answer, error) {
		answers, err := b.fetch(ctx, keys)
		if err != nil && len(keys) > 1 {
			err = errTogether
		}
		return answers, err
	})
}

// fetch asks for keys in one round trip.
func (b *backend) fetch(ctx context.Context, keys []string) ([]answer, error) {
	pipe := b.client.Pipeline()
	gets, ttls := make([]*redis.StringCmd, len(keys)), make([]*redis.DurationCmd, len(keys))
	for i, key := range keys {
		gets[i], ttls[i] = pipe.Get(ctx, key), pipe.PTTL(ctx, key)
	}
	if _, err := pipe.Exec(ctx); passing(err) {
		return nil, err
	}
	// Of any other error each command knows its own.
	answers := make([]answer, len(keys))
	for i := range keys {
		data, err := gets[i].Bytes()
		if err == nil {
			err = ttls[i].Err()
		}
		var reply redis.Error
		switch ttl := ttls[i].Val(); {
		case errors.Is(err, redis.Nil), err == nil && ttl == -2: // the key may expire between the two
		case err == nil:
			answers[i] = answer{rec: session.Record{Data: data, TTL: max(ttl, 0)}, found: true}
		case errors.As(err, &reply):
			answers[i].err = err
		default:
			return nil, err
		}
	}
	return answers, nil
}
