package anyclient

import (
	"context"

	"github.com/flamego/session/redis/internal/errtext"
	"github.com/flamego/session/redis/internal/script"
)

// Result is what go-redis returns for a command: a *redis.Cmd, of any version.
type Result interface {
	// Result returns the reply of the server, or the error.
	Result() (any, error)
}

// Doer is a client of go-redis, of any version.
type Doer[R Result] interface {
	// Do sends a command to the server and returns what came of it.
	Do(ctx context.Context, args ...any) R
}

// GoRedis returns the Eval for a client of go-redis: of one server, of Sentinel, of a
// Cluster.
//
//	config := anyclient.Config{Eval: anyclient.GoRedis(goredis.NewClient(options))}
//
// For a Cluster it does more than the function of six lines: when a server does not answer, the
// client asks at once which server has the slots now.
func GoRedis[R Result](client Doer[R]) Eval {
	return func(ctx context.Context, text string, keys []string, args ...string) (any, error) {
		command := make([]any, 0, 3+len(keys)+len(args))
		command = append(command, "evalsha", script.Hash(text), len(keys))
		for _, key := range keys {
			command = append(command, key)
		}
		for _, arg := range args {
			command = append(command, arg)
		}
		reply, err := client.Do(ctx, command...).Result()
		if said, _ := errtext.Reply(err); errtext.Code(said) == "NOSCRIPT" {
			command[0], command[1] = "eval", text
			reply, err = client.Do(ctx, command...).Result()
		}
		if _, isReply := errtext.Reply(err); err != nil && !isReply {
			// Without retries of its own, a ClusterClient asks every 10 seconds which server has
			// the slots of one that has failed.
			if cluster, ok := client.(interface{ ReloadState(context.Context) }); ok {
				cluster.ReloadState(ctx)
			}
		}
		return reply, err
	}
}
