package clients

import (
	"context"
	"os"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/redisfaults"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis/anyclient"
)

// faultClient is a client below which masters are killed and slots moved. (Valkey-go is rueidis under
// another name.)
type faultClient struct {
	cluster  redisfaults.Open
	sentinel redisfaults.OpenSentinel
	// follows says that the client sends a command on to the server to which its slot moves.
	follows bool
}

var faultClients = map[string]faultClient{
	"go-redis 9": {
		cluster: func(t testing.TB, addrs []string, prefix string) session.Options {
			return goRedisCluster(t, &goredis.ClusterOptions{Addrs: addrs, MaxRedirects: -1}, prefix)
		},
		sentinel: func(t testing.TB, s *testserver.RedisSentinel, prefix string) session.Options {
			client := goredis.NewFailoverClient(&goredis.FailoverOptions{
				MasterName: testserver.SentinelName, SentinelAddrs: s.Addrs(), MaxRetries: -1,
			})
			t.Cleanup(func() { _ = client.Close() })
			return options(anyclient.Config{Eval: anyclient.GoRedis(client), KeyPrefix: prefix})
		},
	},
	"go-redis 9 with MaxRedirects 3": {
		cluster: func(t testing.TB, addrs []string, prefix string) session.Options {
			return goRedisCluster(t, &goredis.ClusterOptions{Addrs: addrs, MaxRedirects: 3}, prefix)
		},
		follows: true,
	},
	"go-redis 9, each command once": {
		cluster: func(t testing.TB, addrs []string, prefix string) session.Options {
			client := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: addrs})
			t.Cleanup(func() { _ = client.Close() })
			config := clusterConfig(client)
			config.KeyPrefix = prefix
			return options(config)
		},
		follows: true,
	},
	"rueidis": {
		cluster: func(t testing.TB, addrs []string, prefix string) session.Options {
			return rueidisOptions(t, rueidis.ClientOption{InitAddress: addrs}, true, prefix)
		},
		sentinel: func(t testing.TB, s *testserver.RedisSentinel, prefix string) session.Options {
			option := rueidis.ClientOption{InitAddress: s.Addrs()}
			option.Sentinel.MasterSet = testserver.SentinelName
			return rueidisOptions(t, option, false, prefix)
		},
		follows: true,
	},
}

func options(config anyclient.Config) session.Options {
	return session.Options{Initer: anyclient.Initer(), Config: config}
}

func goRedisCluster(t testing.TB, opts *goredis.ClusterOptions, prefix string) session.Options {
	client := goredis.NewClusterClient(opts)
	t.Cleanup(func() { _ = client.Close() })
	return options(anyclient.Config{Eval: anyclient.GoRedis(client), Cluster: true, KeyPrefix: prefix})
}

func rueidisOptions(t testing.TB, option rueidis.ClientOption, cluster bool, prefix string) session.Options {
	option.DisableRetry = true
	client, err := rueidis.NewClient(option)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return options(anyclient.Config{Eval: rueidisEval(client), Cluster: cluster, KeyPrefix: prefix})
}

// full reports whether all rounds are run, as in internal/faults.
func full() bool { return os.Getenv("FAULTS") == "full" }

func rounds(short, all int) int {
	if full() {
		return all
	}
	return short
}

// grace is how much later than the servers sessions may work again. In the short form the machine may
// be busy.
func grace() time.Duration { return time.Duration(rounds(15, 2)) * time.Second }

// beside has a row run for all clients at once in the short form, as it waits more than it works. In the
// full form, whose times count, it runs for one after the other.
func beside(t *testing.T) {
	if !full() {
		t.Parallel()
	}
}

func TestClusterMasterKilled(t *testing.T) {
	for name, c := range faultClients {
		t.Run(name, func(t *testing.T) {
			beside(t)
			t.Log(redisfaults.KillMasters(t, c.cluster, rounds(1, 3), grace()))
		})
	}
}

func TestSentinel(t *testing.T) {
	for name, c := range faultClients {
		if c.sentinel == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			beside(t)
			t.Log(redisfaults.Sentinel(t, c.sentinel, true, grace()))
		})
		if full() {
			t.Run(name+", replaced", func(t *testing.T) { t.Log(redisfaults.Sentinel(t, c.sentinel, false, grace())) })
		}
	}
}

func TestSlotMigration(t *testing.T) {
	for name, c := range faultClients {
		for where, oneSlot := range map[string]bool{"a slot of many": false, "one slot": true} {
			t.Run(name+", "+where, func(t *testing.T) {
				beside(t)
				t.Log(redisfaults.Migrate(t, c.cluster, oneSlot, c.follows, rounds(2, 5), time.Duration(rounds(100, 500))*time.Millisecond))
			})
		}
	}
}

// rueidisEval is the Eval of the doc of anyclient.
func rueidisEval(client rueidis.Client) anyclient.Eval {
	return func(ctx context.Context, script string, keys []string, args ...string) (any, error) {
		return rueidis.NewLuaScript(script).Exec(ctx, client, keys, args).ToAny()
	}
}
