package redis_test

import (
	"fmt"
	"time"

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

// A client of a Cluster of Redis 7, for Config.Client.
func ExampleClusterSlots() {
	addrs := []string{"10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:6379"}
	client := goredis.NewClusterClient(&goredis.ClusterOptions{
		Addrs:        addrs,
		ReadTimeout:  time.Second,
		IdleTimeout:  2 * time.Minute,
		ClusterSlots: redis.ClusterSlots(redis.Options{}, addrs...),
	})
	defer client.Close()
	fmt.Println(len(client.Options().Addrs), "servers to ask for the slots")
	// Output: 3 servers to ask for the slots
}
