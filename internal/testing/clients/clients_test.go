package clients

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

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
}
