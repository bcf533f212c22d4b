// Package redis keeps sessions in Redis.
//
// # Model
//
// The encoded data of a session is the value of one key, KeyPrefix and the
// session ID, and Redis itself lets it expire. What must not be interrupted (to
// replace exactly the bytes that were read, to change the ID, to extend) is a
// small Lua script, sent by its hash; a server that has restarted is sent the
// text again.
//
// Any client of go-redis will do: of one server, of Sentinel, of a Cluster. A
// client that is given in the Config is used and left open, one that is made
// from Options is closed with the store. With the latter, loads at the same time go
// together, in fewer round trips.
//
// # Errors
//
// The Initer returns an error when there is neither Client nor Options, and
// when no server answers within 5 seconds. Connections that broke are tried
// again, as many as the pool had, so the first request after a restart of the
// server succeeds. (The pool of a client that was given may answer with its last
// dial error for up to a second more.) An operation ends at the deadline of its
// context. When that is cancelled it ends at once, except for one that has a deadline
// and already uses a connection of a client made from Options without a Dialer and an
// OnConnect: that one ends with its answer or at the deadline.
//
// # Limits
//
// Redis 5 or later; the user must be allowed GET, PTTL, SET, DEL, PEXPIRE,
// EXISTS, PING, EVAL and EVALSHA. Reads must go to the primary: a client with
// ReadOnly may read what another request has replaced. Replication is
// asynchronous, so a failover may undo the last commits, and a server that
// evicts keys when its memory is full ends sessions early. Go-redis 8 is older
// than Redis 7, of which its Cluster client understands too little: it wants
// ClusterOptions.ClusterSlots to be set and asks for the list of all commands
// before each one. Its Ring finds no keys there.
//
// On a Cluster a session that gets a new ID moves to another slot, which cannot
// be one step: the old record goes first, so that the old ID is dead whatever
// happens, and a failure in between ends the session. A KeyPrefix with a hash
// tag, such as "{session}:", keeps all sessions in one slot and avoids that.
package redis

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/go-redis/redis/v8"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/together"
)

// Options are the settings of a connection to one server, those of go-redis.
type Options = redis.Options

// Config says where the sessions are. Client or Options must be given.
type Config struct {
	// Client is a client to share, which the store never closes. Default is a
	// new client made from Options.
	Client redis.UniversalClient
	// Options are the settings for a new client; they are copied. DialTimeout is
	// 2 seconds and ReadTimeout 1 second if not set, shorter than in go-redis, as
	// a dead connection shall leave time for a second one. Default is none, which
	// is an error if there is no Client either.
	Options *Options
	// KeyPrefix is what every key starts with. Default is "session:".
	KeyPrefix string
	// Lifetime is the duration without access after which a session is recycled.
	// Redis counts in milliseconds. Default is 3600 seconds, also for values
	// below one second.
	Lifetime time.Duration
	// Encoder encodes the data of a session. Default is session.GobEncoder.
	Encoder session.Encoder
	// Decoder decodes what Encoder made. Default is session.GobDecoder.
	Decoder session.Decoder
	// MaxDataSize is the greatest number of bytes of encoded data of one session.
	// Default is 1 MiB.
	MaxDataSize int
}

// Initer returns the session.Initer of Redis, which wants a Config.
func Initer() session.Initer {
	return session.NewIniter(open)
}

func open(ctx context.Context, config Config) (_ session.Backend, sc session.StoreConfig, err error) {
	b := &backend{client: config.Client, prefix: config.KeyPrefix}
	if b.prefix == "" {
		b.prefix = "session:"
	}
	if isNil(config.Client) {
		if config.Options == nil {
			return nil, sc, errors.New("empty Options")
		}
		client, retries := newClient(*config.Options)
		b.client, b.close, b.retries = client, client.Close, retries
		// What the app does itself may not look at deadlines.
		if config.Options.Dialer == nil && config.Options.OnConnect == nil {
			n := client.Options().PoolSize
			b.turns = make(chan struct{}, n)
			b.lookups = together.New(max(n/4, 1), maxTogether, b.look)
		}
	}
	if _, err = run(ctx, b, func(ctx context.Context) (string, error) { return b.client.Ping(ctx).Result() }); err != nil {
		_ = b.Close()
		return nil, sc, fmt.Errorf("redis: connect: %w", err)
	}

	sc = session.StoreConfig{
		Name:        "redis",
		Lifetime:    config.Lifetime,
		Encoder:     config.Encoder,
		Decoder:     config.Decoder,
		MaxDataSize: config.MaxDataSize,
	}
	return b, sc, nil
}

// isNil also sees through a nil *redis.Client, as a variable that was never set
// makes an interface that is not nil.
func isNil(client redis.UniversalClient) bool {
	v := reflect.ValueOf(client)
	return client == nil || v.Kind() == reflect.Pointer && v.IsNil()
}
