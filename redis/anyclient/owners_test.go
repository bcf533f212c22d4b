package anyclient_test

import (
	"context"
	"testing"

	goredis "github.com/go-redis/redis/v8"

	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis/anyclient"
)

func TestOwners(t *testing.T) {
	t.Parallel()
	server, _ := testConfig(t)
	node := testserver.StartRedisCluster(t, 1)[0].Addr
	client := goredis.NewClusterClient(&goredis.ClusterOptions{
		Addrs: []string{node}, MaxRedirects: -1,
		// Go-redis 8 does not understand the answer of Redis 7 to CLUSTER SLOTS.
		ClusterSlots: func(context.Context) ([]goredis.ClusterSlot, error) {
			return []goredis.ClusterSlot{{End: 16383, Nodes: []goredis.ClusterNode{{Addr: node}}}}, nil
		},
	})
	t.Cleanup(func() { _ = client.Close() })
	cluster := anyclient.GoRedis(client)
	for name, test := range map[string]struct {
		config anyclient.Config
		apart  bool
	}{
		"one server":              {server, false},
		"Cluster with a hash tag": {anyclient.Config{Eval: cluster, Cluster: true, KeyPrefix: "{session}:"}, false},
		"Cluster":                 {anyclient.Config{Eval: cluster, Cluster: true}, true},
		"Cluster without prefix":  {anyclient.Config{Eval: cluster, Cluster: true, NoKeyPrefix: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t, test.config)
			if test.apart {
				backendtest.OwnersApart(t, b, "owners")
				return
			}
			backendtest.Owners(t, b, "owners")
			backendtest.OwnedBesideRenewals(t, b, "beside")
		})
	}
}
