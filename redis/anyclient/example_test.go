package anyclient_test

import (
	"context"

	goredis "github.com/go-redis/redis/v8"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/redis/anyclient"
)

// A client of any make: Eval runs a script with it.
func ExampleIniter() {
	client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:6379", MaxRetries: -1})
	f := flamego.Classic()
	f.Use(session.Sessioner(session.Options{
		Initer: anyclient.Initer(),
		Config: anyclient.Config{
			Eval: func(ctx context.Context, script string, keys []string, args ...string) (any, error) {
				argv := make([]any, len(args))
				for i, arg := range args {
					argv[i] = arg
				}
				return goredis.NewScript(script).Run(ctx, client, keys, argv...).Result()
			},
		},
	}))
	f.Run()
}

// For go-redis, of any version, the Eval is there. A Cluster has to be named as one.
func ExampleGoRedis() {
	client := goredis.NewClusterClient(&goredis.ClusterOptions{
		Addrs:        []string{"10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:6379"},
		MaxRedirects: -1,
	})
	f := flamego.Classic()
	f.Use(session.Sessioner(session.Options{
		Initer: anyclient.Initer(),
		Config: anyclient.Config{Eval: anyclient.GoRedis(client), Cluster: true},
	}))
	f.Run()
}
