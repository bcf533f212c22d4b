// Package clients has sessions in Redis with the clients that the module itself does not
// know. It is for tests only, and a module of its own, so that nobody else links these
// clients.
package clients

import (
	"context"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/valkey-io/valkey-go"

	"github.com/flamego/session/redis/anyclient"
)

// The three examples are in the doc of package anyclient, too.

func goRedis(addr string) (anyclient.Config, error) {
	client := goredis.NewClient(&goredis.Options{Addr: addr, MaxRetries: -1})
	config := anyclient.Config{
		Eval: func(ctx context.Context, script string, keys []string, args ...string) (any, error) {
			return goredis.NewScript(script).Run(ctx, client, keys, args).Result()
		},
	}
	return config, nil
}

func rueidisClient(addr string) (anyclient.Config, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableRetry: true})
	config := anyclient.Config{
		Eval: func(ctx context.Context, script string, keys []string, args ...string) (any, error) {
			return rueidis.NewLuaScript(script).Exec(ctx, client, keys, args).ToAny()
		},
	}
	return config, err
}

func valkeyClient(addr string) (anyclient.Config, error) {
	client, err := valkey.NewClient(valkey.ClientOption{InitAddress: []string{addr}, DisableRetry: true})
	config := anyclient.Config{
		Eval: func(ctx context.Context, script string, keys []string, args ...string) (any, error) {
			return valkey.NewLuaScript(script).Exec(ctx, client, keys, args).ToAny()
		},
	}
	return config, err
}
