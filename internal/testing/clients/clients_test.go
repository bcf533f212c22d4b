package clients

import (
	"context"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"github.com/valkey-io/valkey-go"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis/anyclient"
	"github.com/flamego/session/storetest"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// clients are all ways to make a Config, for one server or, as rueidis and valkey-go find
// out by themselves, a Cluster.
var clients = map[string]func(addr string) (anyclient.Config, error){
	"go-redis 9": goRedis,
	"rueidis":    rueidisClient,
	"valkey-go":  valkeyClient,
}

// clusterClients are those for a Cluster.
var clusterClients = map[string]func(addr string) (anyclient.Config, error){
	"go-redis 9": func(addr string) (anyclient.Config, error) {
		client := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: []string{addr}, MaxRedirects: -1})
		return anyclient.Config{Eval: anyclient.GoRedis(client)}, nil
	},
	"rueidis":   rueidisClient,
	"valkey-go": valkeyClient,
}

// sharedClients are clients that the app has for itself, too, with the retries that they make by
// default. They send each write of a session once all the same.
var sharedClients = map[string]func(addr string) (anyclient.Config, error){
	"go-redis 9, shared": func(addr string) (anyclient.Config, error) {
		return oneServerConfig(goredis.NewClient(&goredis.Options{Addr: addr})), nil
	},
	"rueidis, shared": func(addr string) (anyclient.Config, error) {
		client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}})
		return anyclient.Config{Eval: rueidisEval(client)}, err
	},
	"valkey-go, shared": func(addr string) (anyclient.Config, error) {
		client, err := valkey.NewClient(valkey.ClientOption{InitAddress: []string{addr}})
		return anyclient.Config{Eval: func(ctx context.Context, script string, keys []string, args ...string) (any, error) {
			return valkey.NewLuaScript(script).Exec(ctx, client, keys, args).ToAny()
		}}, err
	},
}

var prefixes atomic.Int64

// suite runs all rules with a client.
func suite(t *testing.T, config anyclient.Config, traits ...storetest.Trait) {
	storetest.Run(t, func(_ testing.TB, lifetime time.Duration) session.Options {
		config := config
		config.Lifetime = lifetime
		config.KeyPrefix += fmt.Sprintf("rules:%d:", prefixes.Add(1))
		return session.Options{Initer: anyclient.Initer(), Config: config}
	}, traits...)
}

func TestOneServer(t *testing.T) {
	t.Parallel()
	for name, open := range clients {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config, err := open(testserver.Redis(t))
			require.NoError(t, err)
			suite(t, config)
		})
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	addr := testserver.StartRedisCluster(t, 3)[0].Addr
	t.Run("all", func(t *testing.T) { // so that the Cluster ends after them
		for name, open := range clusterClients {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				config, err := open(addr)
				require.NoError(t, err)
				config.Cluster = true
				suite(t, config, storetest.TwoSteps)
			})
		}
	})
}

// The examples in the doc of the package are what is tested here.
func TestExamples(t *testing.T) {
	files, err := parser.ParseFile(token.NewFileSet(), "../../../redis/anyclient/anyclient.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	require.NoError(t, err)
	doc := files.Doc.Text()
	text, err := os.ReadFile("clients.go")
	require.NoError(t, err)
	examples := strings.Split(string(text), "(addr string) (anyclient.Config, error) {\n")[1:]
	require.Len(t, examples, len(clients))
	for _, example := range examples {
		example, _, _ = strings.Cut(example, "\treturn config")
		require.Equal(t, 6, strings.Count(example, "\n"))
		require.Contains(t, doc, example)
	}
	text, err = os.ReadFile("once.go")
	require.NoError(t, err)
	_, example, _ := strings.Cut(string(text), "type once")
	example, _, _ = strings.Cut("type once"+example, "\n\ntype oneServerSender")
	require.Contains(t, doc, strings.ReplaceAll("\t"+strings.ReplaceAll(example, "\n", "\n\t"), "\n\t\n", "\n\n"))
}
