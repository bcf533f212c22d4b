package redis_test

import (
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/redis"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	backendtest.Conformance(t, backendtest.Always, func(t testing.TB, lifetime time.Duration) session.Options {
		config := testConfig(t)
		config.Lifetime = lifetime
		return session.Options{Initer: redis.Initer(), Config: config}
	})
}

func TestUnknownTypes(t *testing.T) {
	t.Parallel()
	backendtest.UnknownTypes(t, openBackend(t, testConfig(t)), "unknown")
}

// Records of different times to live die in their own time.
func TestTimesToLive(t *testing.T) {
	t.Parallel()
	backendtest.TimesToLive(t, openBackend(t, testConfig(t)), "ttl")
}

// A renewal takes two steps where the IDs are in two slots of a Cluster.
func TestNthCallFails(t *testing.T) {
	t.Parallel()
	t.Run("one server", func(t *testing.T) {
		config := testConfig(t)
		backendtest.NthCallFails(t, func(t testing.TB) session.Backend { return openBackend(t, config) })
	})
	t.Run("one server of a Cluster", func(t *testing.T) {
		config := redis.Config{Options: &redis.Options{Addr: startCluster(t).Addr}}
		backendtest.NthCallFailsShortly(t, func(t testing.TB) session.Backend { return openBackend(t, config) })
	})
}
