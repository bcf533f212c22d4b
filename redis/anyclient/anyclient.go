// Package anyclient keeps sessions in Redis, or Valkey, by the client that the app has. All
// that it asks of a client is one function, which runs a script. So it links no client.
//
// The function has six lines with go-redis 9
//
//	client := goredis.NewClient(&goredis.Options{Addr: addr, MaxRetries: -1})
//	config := anyclient.Config{
//		Eval: func(ctx context.Context, script string, keys []string, args ...string) (any, error) {
//			return goredis.NewScript(script).Run(ctx, client, keys, args).Result()
//		},
//	}
//
// for which there is [GoRedis] as well, with rueidis
//
//	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableRetry: true})
//	config := anyclient.Config{
//		Eval: func(ctx context.Context, script string, keys []string, args ...string) (any, error) {
//			return rueidis.NewLuaScript(script).Exec(ctx, client, keys, args).ToAny()
//		},
//	}
//
// and with valkey-go
//
//	client, err := valkey.NewClient(valkey.ClientOption{InitAddress: []string{addr}, DisableRetry: true})
//	config := anyclient.Config{
//		Eval: func(ctx context.Context, script string, keys []string, args ...string) (any, error) {
//			return valkey.NewLuaScript(script).Exec(ctx, client, keys, args).ToAny()
//		},
//	}
//
// and the sessions are then
//
//	f.Use(session.Sessioner(session.Options{Initer: anyclient.Initer(), Config: config}))
//
// # Model
//
// Keys and values are those of package redis, so both find the sessions of the other. Each
// operation is one script and one round trip, if the client sends the hash of a script, and its
// text only to a server that does not know the hash, as the clients above do. The client
// belongs to the app: the store never closes it.
//
// # Owners
//
// With Options.OwnerKey the sessions of an owner are in a sorted set, as in package redis,
// whose doc lists the rights that this takes. No operation costs another round trip, and a list
// is one. The scripts that list, and that write an entry, read keys that they find in the set.
// A server that wants to know all keys of a script beforehand refuses that, though perhaps only
// once an owner has several sessions.
//
// On a Cluster all of this holds if the KeyPrefix has a hash tag, such as "{session}:". Without
// a hash tag, as in package redis, a write and an extend cost one more round trip, a renewal
// and a change of owner cost two more, and a list may miss a session that gets a new ID at that
// moment. A list is one script for the set and one for each session, up to 16 at the same time.
// If the client is that of a Cluster and Cluster is not set, New returns an error.
//
// # Retries
//
// The client must send a write only once. A write compares with what was read. If its answer is
// lost, and a client sends the write again, it is refused, as if somebody else had written. The
// store then makes the changes again, on top of what another request may have written meanwhile.
// If the client sends it once, the store looks what has become of the write: see
// [session.ErrNotApplied]. Loads, extends and deletes are made again by the store, and writes that
// the server has refused for the moment, up to 3 times.
//
// Rueidis and valkey-go send the scripts above once, with DisableRetry and without: they repeat only
// scripts of NewLuaScriptRetryable. Go-redis 9 repeats everything, up to 3 times, unless MaxRetries is
// -1, and in ClusterOptions MaxRedirects.
//
// If the app wants these retries for its own commands, or if the client of a Cluster is to follow slots,
// let the store send its commands by the app's client, but each of them once. That takes go-redis 9.19
// or later. (For one server, or Sentinel, put *goredis.Client in place of *goredis.ClusterClient, and
// leave Cluster out.)
//
//	type once struct{ *goredis.Cmd }
//
//	func (once) NoRetry() bool { return true }
//
//	type sender struct{ *goredis.ClusterClient }
//
//	func (s sender) Do(ctx context.Context, args ...any) *goredis.Cmd {
//		cmd := goredis.NewCmd(ctx, args...)
//		_ = s.Process(ctx, once{cmd})
//		return cmd
//	}
//
//	func clusterConfig(client *goredis.ClusterClient) anyclient.Config {
//		return anyclient.Config{Eval: anyclient.GoRedis(sender{client}), Cluster: true}
//	}
//
// # Cluster
//
// What package redis says of a Cluster, and of replicas, holds here, too. How well sessions go on while
// slots move depends on the client:
//   - rueidis and valkey-go follow a slot, also with DisableRetry.
//   - go-redis 9 with the sender above follows a slot. With MaxRedirects -1 it does not: requests wait
//     for about a tenth of a second, and are errors if the slot has not moved by then. With MaxRedirects
//     3, the default, it follows a slot, but it also makes writes again whose answer was lost.
//   - for go-redis 8 there is package redis, which follows slots by itself.
//
// # Errors
//
// The Initer returns an error when there is no Eval, when NoKeyPrefix and a KeyPrefix are
// set, when the server refuses a command that the store needs, naming the command, and when
// Eval fails. For a server that is still starting it waits for 5 seconds.
//
// No error repeats the text of an error reply or of the client, which may quote keys, data, or
// a part of the password. For the errors of go-redis, rueidis and valkey-go it has the code of
// the reply, such as NOPERM, and says what the code means. For any other error it has the Go
// type. errors.As finds the original.
//
// An operation ends when its context does, even if Eval goes on.
//
// # Limits
//
// Redis 5 or later, with the rights that package redis lists, and those that the client needs
// for itself, such as HELLO and CLIENT. (Rueidis wants CLIENT TRACKING, unless its DisableCache is
// set.) The limits of package redis hold: reads must go to the primary, and a failover or an
// eviction may end sessions.
//
// How long a connection waits that has died without a word is up to the client. Give it a
// timeout of 1 second for an answer, and an idle time below the 4 minutes after which
// balancers drop connections.
package anyclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/redact"
	"github.com/flamego/session/internal/starting"
	"github.com/flamego/session/redis/internal/errtext"
	"github.com/flamego/session/redis/internal/script"
)

// Eval runs a Lua script with its keys and its arguments, which may be any bytes. It returns
// the reply: an int64, a string or a []byte, or a []any of such. No script of this package
// answers with nil. It may be called in parallel, and after the end of the context that an
// earlier call had.
type Eval = func(ctx context.Context, script string, keys []string, args ...string) (any, error)

// Config says how the server is asked. Eval must be given.
type Config struct {
	// Eval runs a script. Default is none, which is an error.
	Eval Eval
	// Cluster says that the client is that of a Cluster. Then no script has keys of two
	// slots, and a session that gets a new ID moves in two steps, unless the KeyPrefix has a
	// hash tag, such as "{session}:". A failure between the steps ends the session. What it
	// means for owners is in the package doc. If it is false with the client of
	// a Cluster and no hash tag, New returns an error, of CROSSSLOT. Default is false.
	Cluster bool
	// KeyPrefix is what every key starts with. Default is "session:".
	KeyPrefix string
	// NoKeyPrefix says that the keys are the session IDs alone. What is different then is in
	// the doc of package redis. To set it and a KeyPrefix is an error. Default is false.
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

// Initer returns the session.Initer for any client of Redis, which wants a Config.
func Initer() session.Initer {
	return session.NewIniter(open)
}

func open(ctx context.Context, config Config) (_ session.Backend, sc session.StoreConfig, err error) {
	b := &backend{eval: config.Eval, prefix: config.KeyPrefix, noPrefix: config.NoKeyPrefix}
	switch {
	case b.eval == nil:
		return nil, sc, errors.New("empty Eval")
	case b.noPrefix && b.prefix != "":
		return nil, sc, errors.New("NoKeyPrefix and a KeyPrefix")
	case !b.noPrefix && b.prefix == "":
		b.prefix = script.Prefix
	}
	b.twoSteps = config.Cluster && !script.IsOneSlot(b.prefix)
	if err := b.start(ctx, script.Check); err != nil {
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

// start checks by a script that the server does what the store needs. It waits for a server that
// is still starting. If Config.Cluster should be set and is not, the two keys are refused.
func (b *backend) start(ctx context.Context, text string) error {
	keys := []string{b.prefix + script.CheckKey, b.prefix + script.CheckOtherKey}
	if b.twoSteps {
		keys = keys[:1]
	}
	return starting.Wait(ctx, func(ctx context.Context) error { return b.check(ctx, text, keys) }, errtext.MayStart)
}

func (b *backend) check(ctx context.Context, text string, keys []string) error {
	reply, err := b.call(ctx, repeatable, text, keys)
	said, _ := errtext.Reply(err)
	refused, ok := script.Text(reply)
	switch {
	case errtext.Code(said) == "CROSSSLOT":
		return redact.New("redis: connect: "+err.Error()+": for a Cluster set Config.Cluster, or a KeyPrefix with a hash tag", err)
	case errtext.IsRefusal(said):
		return redact.New("redis: "+errtext.Refusal(said)+": "+err.Error(), err)
	case err != nil:
		return redact.New("redis: connect: "+err.Error(), err)
	case !ok:
		return fmt.Errorf("redis: %w", script.ErrReply)
	case string(refused) != "OK":
		return fmt.Errorf("redis: the server refuses %s to this user, and the store needs it", script.Command(string(refused)))
	}
	return nil
}
