package redis_test

import (
	"testing"

	goredis "github.com/go-redis/redis/v8"

	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis"
)

func TestOwners(t *testing.T) {
	t.Parallel()
	server := testConfig(t)
	masters := testserver.StartRedisCluster(t, 3)
	client := func() goredis.UniversalClient {
		return clusterClient(t, &goredis.ClusterOptions{MaxRedirects: -1}, masters...)
	}
	node := startCluster(t).Addr
	for name, test := range map[string]struct {
		config redis.Config
		apart  bool
	}{
		"one server":                        {server, false},
		"shared client":                     {redis.Config{Client: bare(t, server.Options), KeyPrefix: server.KeyPrefix + "shared:"}, false},
		"no prefix":                         {redis.Config{Options: &redis.Options{Addr: startPrivate(t).Addr}, NoKeyPrefix: true}, false},
		"Cluster with a hash tag":           {redis.Config{Client: client(), KeyPrefix: "{session}:"}, false},
		"Cluster":                           {redis.Config{Client: client()}, true},
		"Cluster without prefix":            {redis.Config{Client: client(), NoKeyPrefix: true}, true},
		"one server of a Cluster, hash tag": {redis.Config{Options: &redis.Options{Addr: node}, KeyPrefix: "{session}:"}, false},
		"one server of a Cluster":           {redis.Config{Options: &redis.Options{Addr: node}}, true},
		"client of unknown kind":            {redis.Config{Client: struct{ goredis.UniversalClient }{cluster(t, node)}, KeyPrefix: "unknown:"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := openBackend(t, test.config)
			if test.apart {
				backendtest.OwnersApart(t, b, "owners")
				return
			}
			backendtest.Owners(t, b, "owners")
			backendtest.OwnedBesideRenewals(t, b, "beside")
		})
	}
}
