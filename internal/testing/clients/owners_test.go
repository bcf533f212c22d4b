package clients

import (
	"reflect"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis/anyclient"
)

// openBackend opens a store and returns its backend. No other module can ask for that, so it
// is taken out of the store.
func openBackend(t testing.TB, config anyclient.Config) session.Backend {
	t.Helper()
	field := reflect.ValueOf(openStore(t, config)).Elem().FieldByName("backend")
	b, ok := reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Interface().(session.Backend)
	require.True(t, ok)
	return b
}

func TestOwners(t *testing.T) {
	t.Parallel()
	for name, open := range clients {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config, err := open(testserver.Redis(t))
			require.NoError(t, err)
			config.KeyPrefix = t.Name() + ":"
			b := openBackend(t, config)
			backendtest.Owners(t, b, "owners")
			backendtest.OwnedBesideRenewals(t, b, "beside")
			backendtest.EndOwnedBesideRenewals(t, b, "end", 4, 40)
		})
	}
}

func TestOwnersOnCluster(t *testing.T) {
	t.Parallel()
	addr := testserver.StartRedisCluster(t, 3)[0].Addr
	t.Run("all", func(t *testing.T) { // so that the Cluster ends after them
		for name, open := range clusterClients {
			config, err := open(addr)
			require.NoError(t, err)
			config.Cluster = true
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				config := config
				config.KeyPrefix = t.Name() + ":"
				backendtest.OwnersApart(t, openBackend(t, config), "owners")
			})
			t.Run(name+" with a hash tag", func(t *testing.T) {
				t.Parallel()
				config := config
				config.KeyPrefix = "{" + t.Name() + "}:"
				b := openBackend(t, config)
				backendtest.Owners(t, b, "owners")
				backendtest.OwnedBesideRenewals(t, b, "beside")
			})
		}
	})
}
