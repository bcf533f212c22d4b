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
// Any client of go-redis v8 will do: of one server, of Sentinel, of a Cluster. The store
// leaves a client of the Config open. It closes a client that it has made from Options.
// With such a client, loads that come at the same time share round trips. For other clients,
// such as go-redis 9, there is the package redis/anyclient.
//
// # Errors
//
// The Initer returns an error
//   - when there is neither Client nor Options,
//   - when NoKeyPrefix and a KeyPrefix are both set,
//   - when the server refuses a command that the store needs: the error names it,
//   - when no server answers within 5 seconds. For so long it waits for a server that is still
//     starting, or loading its data.
//
// No error repeats the text of an error reply or of the driver, which may quote keys, data, or
// a part of the password. Instead it has the code of the reply, such as NOPERM, and says what
// the code means. errors.As finds the original error.
//
// When a connection breaks, Load, Extend and Delete are tried again, as often as the pool has
// connections. A write is tried again only if it surely had no effect: it could not be sent, or
// the server refused it because it is loading its data or has become a read-only replica after
// a failover. If the answer to a write is lost, or takes longer than ReadTimeout, the store
// looks what has become of the write: see [session.ErrNotApplied].
//
// An operation ends at the deadline of its context at the latest. A canceled context ends the
// wait for a connection. But if the client was made from Options, it may not interrupt a
// command that is under way; the deadline does.
//
// # Connections
//
// A balancer may drop connections without a word. With a client made from Options, one visit
// then waits for ReadTimeout (2 seconds), and all connections that were idle at that time are
// replaced. A connection that is idle for 2 minutes is closed. If the server says that it has
// become a replica, all idle connections are closed, and the write is sent by a new connection,
// which may lead to the new primary.
//
// With a Client, all that is up to the client. Set ReadTimeout to 2 seconds and IdleTimeout to 2
// minutes. Retries are made by the store, as many as MaxRetries of a
// [github.com/go-redis/redis/v8.Client] says. A hook that is added to it after the start is not
// called. A client of another type, except a ClusterClient, must make no retries (MaxRetries -1).
// Otherwise it sends a write again if the answer was lost, which may undo what another request has
// changed in between.
//
// # Rights
//
// The user needs these commands: +get +pttl +set +del +pexpire +exists +eval +evalsha. In
// addition, with a DB other than 0 also +select. So this is enough, with the KeyPrefix
// after "~":
//
//	ACL SETUSER app on >password ~session:* +get +pttl +set +del +pexpire +exists +eval +evalsha
//
// With Options.OwnerKey also +time +zadd +zrem +zremrangebyscore +zrange. New returns an error
// that names the command that the server refuses. Without OwnerKey, +time is of use where the clock
// of a process may be wrong: see [session.ServerClock].
//
// These are all commands that this package and go-redis 8 send to Redis 7. On a Cluster,
// [ClusterSlots] also sends CLUSTER SLOTS, which needs +cluster|slots. While a slot moves to
// another server, the store also sends ASKING, which needs +asking. With Options.OwnerKey a
// ClusterClient sends COMMAND, which may be refused. A user of Sentinel needs the commands that
// https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/ lists for clients.
//
// # Owners
//
// With Options.OwnerKey the sessions of an owner are in a sorted set. Its key is the KeyPrefix,
// "flamego::session::owner:" and the owner as text, which is never the key of a session. The
// members are the session IDs, and the score of a member is when its session ends, in
// milliseconds by the clock of the server, plus a minute. Each write removes the members that
// are past, and the set ends with its last member. A logout leaves the member of its session in
// the set. It is removed when the owner is listed, by new sessions of the owner (each removes
// up to four), or when the session would have ended. A program that counts keys by the
// KeyPrefix counts the sets, too.
//
// The script that writes a session writes the set, so no write costs another round trip. The
// list of an owner is one script, which reads the set, and the data and the time to live of
// each member. So a session that gets a new ID meanwhile is in the list. The server does
// nothing else while the script runs: about 4 microseconds for each session of 500 bytes, so 4
// milliseconds for 1000.
//
// A server that evicts keys when its memory is full may evict a set. Then its sessions are
// missing in the list until they are used again.
//
// On a Cluster all of this holds if the KeyPrefix has a hash tag, such as "{session}:". Without
// a hash tag a set is in another slot than its sessions. Then
//   - a write and an extend cost one more round trip, since the set is written first. A renewal
//     and a change of owner cost two more, since the old member is removed last.
//   - a list costs two round trips: one for the set, and one for each 256 sessions.
//   - a session that gets a new ID is for a moment under neither ID, and a list may miss it. So
//     a session that is renewed while all sessions of its owner are ended may survive.
//   - a session may be missing in the list, until it is used again, if its owner changes
//     and at the same time changes back.
//   - what a logout leaves in the set stays until the session would have ended.
//
// A redis.Ring, and a client of a type that is not of go-redis, is treated like a Cluster
// without a hash tag. If a Ring loses a server, lists are incomplete until the sessions have
// been used again. A ClusterClient with ReadOnly lists at the primaries, where all scripts run.
//
// # No prefix
//
// Versions of the existing library before v1.6.0 had no prefix. With NoKeyPrefix the store
// finds their sessions. Then a key of the app may look like a session ID, and a visitor may
// send its name. So only IDs of exactly Options.IDLength are looked up. A key whose value
// is no session is not touched: it is never replaced, deleted, renamed or given an expiry.
// For a visitor who sends such an ID the session is empty, to change it is an error, and
// ErrorFunc is told. But a value of the app that Decoder can decode is taken for a session.
// An ACL needs "~*". A touch and a logout take one more round trip.
//
// # Cluster
//
// Give [ClusterSlots] to a ClusterClient: go-redis 8 does not understand how Redis 7 tells which
// server has which slots. Without it, New returns an error on Redis 7, which says so. With it, the
// store sends each script to the master of its slot by itself, by the client that the ClusterClient
// has for this server. So MaxRedirects and ReadOnly have no effect on the store, and the hooks that
// it calls are those that NewClient adds.
//
// While a slot moves to another server, the store follows the keys, and no request fails. When a
// master fails, requests of its sessions are errors until the Cluster has made a replica the new
// master. The store then asks for the slots at once. (The ClusterClient alone would do so after 10
// seconds.) For a part of that time requests of all sessions are errors, unless the servers have
// cluster-require-full-coverage no.
//
// A session that gets a new ID moves to another slot, which takes two steps. The old record is
// deleted first, so that the old ID is dead whatever happens. A failure between the two steps
// ends the session. A KeyPrefix with a hash tag, such as "{session}:", keeps all sessions in one
// slot, at one server, where one step is enough. While this slot moves, a renewal waits for about
// a tenth of a second and then takes two steps. So does, with Options.OwnerKey, a write; and a list
// may be an error.
//
// # Replicas
//
// Reads must go to the primary: a client of one server with reads at a replica may read what
// another request has replaced. Replication is asynchronous. What a master has answered, and not
// yet sent to its replica, is lost when the replica takes its place. So a failover may undo the
// last commits: also a logout, or a new ID, so that an old ID is alive again with what it had. If
// the master fails, that is a few milliseconds of commits, or all since its link to the replica
// broke. With SENTINEL FAILOVER it is all that clients write to the former master until they are
// told of the new one, some tenths of a second. With min-replicas-to-write 1 in the configuration
// of the servers a master without a replica refuses to write. Each request that writes is then an
// error with NOREPLICAS, also after a failover, until the new master has a replica.
//
// # Limits
//
// Redis 5 or later. A server that evicts keys when its memory is full ends sessions early. With
// servers of Redis 7, redis.Ring does not work.
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
	// Client is a client to share, which the store never closes. What it should be set
	// to is in the package doc. Default is a new client made from Options.
	Client redis.UniversalClient
	// Options are the settings for a new client. They are copied. If they are not set,
	// DialTimeout is 2 seconds, ReadTimeout 2 seconds, IdleTimeout 2 minutes and
	// IdleCheckFrequency 30 seconds: shorter than in go-redis, so that few connections are
	// dead, and that after a dead one there is time to try another. WriteTimeout is the same as
	// ReadTimeout, PoolSize is 10 for each processor, and MaxRetries is 3 (-1 means none). TCP
	// keep-alive is that of Go, 15 seconds. Default is none, which is an error if there is no
	// Client either.
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
	case *redis.ClusterClient:
		b.client, b.scripted = cluster{c}, true
		opts := c.Options()
		if b.ownRetries = opts.MaxRetries > 0; !b.ownRetries {
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
