package redis

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/go-redis/redis/v8"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/deadline"
)

// queue is the look-ups that wait because all connections are taken. Whichever gets
// one takes the others along, in one round trip, where they would have gone one after
// the other. None waits that would not have waited anyway.
type queue struct {
	mu      sync.Mutex
	waiting []*lookup
}

// lookup is the wish to know what there is under a key.
type lookup struct {
	key    string
	taken  bool          // along by another; guarded by queue.mu
	done   chan struct{} // closed when there is an answer
	answer answer
	err    error
	cut    bool // short by the end of the context of whoever asked
}

// answer is what there is under a key.
type answer struct {
	rec   session.Record
	found bool
	err   error // of this key alone
}

// maxTogether is how many look-ups go in one round trip at most.
const maxTogether = 64

func (q *queue) join(l *lookup) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, l)
}

// take ends the wait of l and others, which it returns; none if l has been taken
// along.
func (q *queue) take(l *lookup) (others []*lookup, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.taken {
		return nil, false
	}
	rest := q.waiting[:0]
	for _, other := range q.waiting {
		switch {
		case other == l:
		case len(others)+1 < maxTogether:
			other.taken = true
			others = append(others, other)
		default:
			rest = append(rest, other)
		}
	}
	clear(q.waiting[len(rest):])
	q.waiting = rest
	return others, true
}

// leave ends the wait of l alone.
func (q *queue) leave(l *lookup) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.waiting, l); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
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
	if !b.direct(ctx) {
		answers, err := watched(ctx, b, func(ctx context.Context) ([]answer, error) { return b.fetch(ctx, key) })
		if err != nil {
			return answer{}, err
		}
		return answers[0], nil
	}
	for {
		l := &lookup{key: key}
		select {
		case b.turns <- struct{}{}:
			b.fly(ctx, l, nil)
		default:
			if err := b.share(ctx, l); err != nil {
				return answer{}, err
			}
		}
		// Whoever took l along may have had less time.
		if !l.cut || deadline.Err(ctx) != nil {
			return l.answer, reason(ctx, l.err)
		}
	}
}

// share waits for a connection, or for the answer that comes with another look-up. It
// returns an error only if ctx ends first.
func (b *backend) share(ctx context.Context, l *lookup) error {
	l.done = make(chan struct{})
	b.queue.join(l)
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		b.queue.leave(l)
		return ctx.Err()
	case b.turns <- struct{}{}:
	}
	if others, ok := b.queue.take(l); ok {
		b.fly(ctx, l, others)
		return nil
	}
	<-b.turns
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fly brings l and others their answers and gives back the turn it was called with.
// The context is that of l alone.
func (b *backend) fly(ctx context.Context, l *lookup, others []*lookup) {
	together := append([]*lookup{l}, others...)
	var answers []answer
	err := errors.New("the client panicked")
	defer func() {
		<-b.turns
		cut := err != nil && deadline.Err(ctx) != nil
		for i, l := range together {
			if l.err, l.cut = err, cut; err == nil {
				l.answer = answers[i]
			}
			if l.done != nil {
				close(l.done)
			}
		}
	}()
	keys := make([]string, len(together))
	for i, l := range together {
		keys[i] = l.key
	}
	answers, err = unwatched(ctx, b, func(ctx context.Context) ([]answer, error) { return b.fetch(ctx, keys...) })
}

// fetch asks for keys in one round trip.
func (b *backend) fetch(ctx context.Context, keys ...string) ([]answer, error) {
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
