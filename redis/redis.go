// Package redis keeps sessions in Redis.
//
//	f.Use(session.Sessioner(session.Options{
//		Initer: redis.Initer(),
//		Config: redis.Config{Options: &redis.Options{Addr: "localhost:6379"}},
//	}))
//
// # Model
//
// The encoded data of a session is the value of one key, which is KeyPrefix and the
// session ID. Redis itself lets the key expire. Operations that must not be interrupted
// are small Lua scripts: to replace exactly the bytes that were read, to change the ID,
// and to extend. A script is sent by its hash, and by its text to a server that does not
// know the hash.
//
// Any client of go-redis will do: of one server, of Sentinel, of a Cluster. The store
// leaves a client of the Config open. It closes a client that it has made from Options.
// With such a client, loads that come at the same time share round trips.
//
// # Errors
//
// The Initer returns an error when there is neither Client nor Options, and when no
// server answers within 5 seconds.
//
// A call on a broken connection is made again on the next one, until all connections
// that the pool had are used up. So the first request after a restart of the server
// succeeds. (The pool of a client of the Config may answer with its last dial error for
// up to a second more.)
//
// An operation ends at the deadline of its context at the latest. A cancelled context
// ends the wait for a connection. But with a client made from Options, a cancelled
// context may not interrupt a command that is under way: the deadline does.
//
// # Limits
//
// Redis 5 or later. The user must be allowed GET, PTTL, SET, DEL, PEXPIRE, EXISTS,
// PING, EVAL and EVALSHA. Reads must go to the primary: a client with ReadOnly may read
// what another request has replaced. Replication is asynchronous, so a failover may undo
// the last commits. A server that evicts keys when its memory is full ends sessions
// early.
//
// Go-redis 8 is older than Redis 7. With a Cluster of Redis 7, redis.ClusterClient needs
// ClusterOptions.ClusterSlots, and asks for the list of all commands before each
// command. With servers of Redis 7, redis.Ring does not work.
//
// On a Cluster, a session that gets a new ID moves to another slot, which takes two
// steps. The old record is deleted first, so that the old ID is dead whatever happens. A
// failure between the two steps ends the session. A KeyPrefix with a hash tag, such as
// "{session}:", keeps all sessions in one slot, where one step is enough.
package redis

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/go-redis/redis/v8"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/liveness"
	"github.com/flamego/session/internal/together"
	"github.com/flamego/session/redis/internal/script"
)

// Options are the settings of a client of one server: those of go-redis v8, the package
// github.com/go-redis/redis/v8.
type Options = redis.Options

// Config says where the sessions are. Client or Options must be given.
type Config struct {
	// Client is a client to share, which the store never closes. Default is a
	// new client made from Options.
	Client redis.UniversalClient
	// Options are the settings for a new client. They are copied. If they are not
	// set, DialTimeout is 2 seconds and ReadTimeout 1 second: shorter than in
	// go-redis, so that a dead connection leaves time for a second one. Default is
	// none, which is an error if there is no Client either.
	Options *Options
	// KeyPrefix is what every key starts with. Default is "session:".
	KeyPrefix string
	// NoKeyPrefix says that the keys are the session IDs alone, as in the versions of the
	// existing library before v1.6.0. To set it and a KeyPrefix is an error. The package doc
	// says what is different with it. Default is false.
	NoKeyPrefix bool
	// Lifetime is the duration without access after which a session ends.
	// Redis counts in milliseconds. Default is 3600 seconds, also for values
	// below one second.
	Lifetime time.Duration
	// Encoder encodes the data of a session. Default is session.GobEncoder.
	Encoder session.Encoder
	// Decoder decodes what Encoder made. Default is session.GobDecoder.
	Decoder session.Decoder
	// MaxDataSize is the greatest number of bytes of encoded data of one session. To
	// save more is an error, and a larger record is not decoded. Default is 1 MiB.
	MaxDataSize int
}

// Initer returns the session.Initer of Redis, which wants a Config.
func Initer() session.Initer {
	return session.NewIniter(open)
}

func open(ctx context.Context, config Config) (_ session.Backend, sc session.StoreConfig, err error) {
	b := &backend{prefix: config.KeyPrefix, noPrefix: config.NoKeyPrefix}
	switch {
	case b.noPrefix && b.prefix != "":
		return nil, sc, errors.New("NoKeyPrefix and a KeyPrefix")
	case !b.noPrefix && b.prefix == "":
		b.prefix = script.Prefix
	}
	if !isNil(config.Client) {
		b.share(config.Client)
	} else {
		if config.Options == nil {
			return nil, sc, errors.New("empty Options")
		}
		b.conns = new(liveness.Conns)
		client, retries := newClient(*config.Options, b.conns)
		b.client, b.close, b.retries = client, client.Close, retries
		// A Dialer or an OnConnect of the app may not heed deadlines.
		if config.Options.Dialer == nil && config.Options.OnConnect == nil {
			n := client.Options().PoolSize
			b.slots = make(chan struct{}, n)
			// With a quarter of the connections, loads that come at the same time share
			// round trips. The figures are in docs/benchmarks.md, "Experiments".
			b.lookups = together.New(max(n/4, 1), loadBatch, b.loadTogether)
		}
	}
	if err = b.start(ctx); err != nil {
		_ = b.Close()
		return nil, sc, err
	}

	sc = session.StoreConfig{
		Name:        "redis",
		Lifetime:    config.Lifetime,
		Encoder:     config.Encoder,
		Decoder:     config.Decoder,
		MaxDataSize: config.MaxDataSize,
		SharedKeys:  config.NoKeyPrefix,
	}
	return b, sc, nil
}

// share takes a client of the app. Its retries, if they are known, are made here.
func (b *backend) share(client redis.UniversalClient) {
	b.client = client
	switch c := client.(type) {
	case *redis.Client:
		// A copy that has the pool and the hooks, and makes no retries.
		opts := *c.Options()
		c = c.WithTimeout(opts.ReadTimeout)
		c.Options().WriteTimeout, c.Options().MaxRetries = opts.WriteTimeout, 0
		b.client = c
		b.retries = retries{opts.MaxRetries, opts.MinRetryBackoff, opts.MaxRetryBackoff}
		if opts.MaxRetries == 0 {
			b.retries.max = 3
		}
	case *redis.ClusterClient:
		opts := c.Options()
		if b.ownRetries = opts.MaxRedirects > 0 || opts.MaxRetries > 0; !b.ownRetries {
			b.retries = retries{3, opts.MinRetryBackoff, opts.MaxRetryBackoff}
		}
	default:
		b.ownRetries = true
	}
}

// isNil reports whether there is no client. A variable of type *redis.Client that was
// never set is no client either, though as an interface it is not nil.
func isNil(client redis.UniversalClient) bool {
	v := reflect.ValueOf(client)
	return client == nil || v.Kind() == reflect.Pointer && v.IsNil()
}
