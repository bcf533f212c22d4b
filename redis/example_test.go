package redis_test

import (
	goredis "github.com/go-redis/redis/v8"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/redis"
)

// The store makes its own client from Options.
func ExampleIniter() {
	f := flamego.Classic()
	f.Use(session.Sessioner(session.Options{
		Initer: redis.Initer(),
		Config: redis.Config{
			Options: &redis.Options{Addr: "127.0.0.1:6379", DB: 15},
		},
	}))
	f.Run()
}

// The store shares the client of the app, which may be that of Sentinel or a Cluster.
func ExampleIniter_client() {
	client := goredis.NewUniversalClient(&goredis.UniversalOptions{
		MasterName: "mymaster",
		Addrs:      []string{"10.0.0.1:26379", "10.0.0.2:26379", "10.0.0.3:26379"},
	})
	f := flamego.Classic()
	f.Use(session.Sessioner(session.Options{
		Initer: redis.Initer(),
		Config: redis.Config{Client: client},
	}))
	f.Run()
}
