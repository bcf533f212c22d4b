package mongo_test

import (
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/mongo"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	backendtest.Conformance(t, backendtest.InFull, func(t testing.TB, lifetime time.Duration) session.Options {
		config := testConfig(t)
		config.Lifetime = lifetime
		return session.Options{Initer: mongo.Initer(), Config: config}
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

func TestNthCallFails(t *testing.T) {
	t.Parallel()
	backendtest.NthCallFailsShortly(t, func(t testing.TB) session.Backend { return openBackend(t, testConfig(t)) })
}
