package faults

import (
	"testing"

	goredis "github.com/go-redis/redis/v8"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis"
	"github.com/flamego/session/redis/anyclient"
)

// redisClient is a way to keep sessions in Redis by go-redis 8. Ways by other clients are in
// internal/testing/clients.
type redisClient struct {
	name string
	// one and sentinel return the options of an app whose sessions are at one server, or at the
	// master of Sentinels.
	one      func(t testing.TB, opts redis.Options, prefix string) session.Options
	sentinel func(t testing.TB, s *testserver.RedisSentinel, prefix string) session.Options
}

var redisClients = []redisClient{
	{
		name: "redis",
		one: func(_ testing.TB, opts redis.Options, prefix string) session.Options {
			return ofRedis(redis.Config{Options: &opts, KeyPrefix: prefix})
		},
		sentinel: func(t testing.TB, s *testserver.RedisSentinel, prefix string) session.Options {
			return ofRedis(redis.Config{Client: sentinelClient(t, s, 0), KeyPrefix: prefix})
		},
	},
	{
		name: "anyclient",
		one: func(t testing.TB, opts redis.Options, prefix string) session.Options {
			opts.MaxRetries = -1
			client := goredis.NewClient(&opts)
			t.Cleanup(func() { _ = client.Close() })
			return ofAnyClient(anyclient.Config{Eval: anyclient.GoRedis(client), KeyPrefix: prefix})
		},
		sentinel: func(t testing.TB, s *testserver.RedisSentinel, prefix string) session.Options {
			return ofAnyClient(anyclient.Config{Eval: anyclient.GoRedis(sentinelClient(t, s, -1)), KeyPrefix: prefix})
		},
	},
}

func ofRedis(config redis.Config) session.Options {
	return session.Options{Initer: redis.Initer(), Config: config}
}

func ofAnyClient(config anyclient.Config) session.Options {
	return session.Options{Initer: anyclient.Initer(), Config: config}
}

func sentinelClient(t testing.TB, s *testserver.RedisSentinel, retries int) *goredis.Client {
	client := goredis.NewFailoverClient(&goredis.FailoverOptions{
		MasterName: testserver.SentinelName, SentinelAddrs: s.Addrs(), MaxRetries: retries,
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// inCluster returns the options of an app whose sessions are in a Cluster, by package redis. (A
// ClusterClient of go-redis 8 has a data race of its own when anyclient asks it while the servers of
// the Cluster change.)
func inCluster(t testing.TB, addrs []string, prefix string) session.Options {
	client := goredis.NewClusterClient(&goredis.ClusterOptions{
		Addrs: addrs, ClusterSlots: redis.ClusterSlots(redis.Options{}, addrs...),
	})
	t.Cleanup(func() { _ = client.Close() })
	return ofRedis(redis.Config{Client: client, KeyPrefix: prefix})
}

// eachRedis runs a row with each way, or in the short form with the first one only.
func eachRedis(t *testing.T, row func(t *testing.T, c redisClient)) {
	t.Helper()
	for _, c := range redisClients[:rounds(1, len(redisClients))] {
		t.Run(c.name, func(t *testing.T) { row(t, c) })
	}
}
