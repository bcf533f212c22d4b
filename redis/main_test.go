package redis_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis"
)

func TestMain(m *testing.M) { testserver.Main(m) }

var prefixes atomic.Int64

// testConfig is for a prefix of its own on the shared server.
func testConfig(t testing.TB) redis.Config {
	return redis.Config{
		Options:   &redis.Options{Addr: testserver.Redis(t), Password: testserver.RedisPassword()},
		KeyPrefix: fmt.Sprintf("%s:%d:%d:", t.Name(), time.Now().UnixNano(), prefixes.Add(1)),
	}
}

// bare is the driver alone, to look at what is really there.
func bare(t testing.TB, opts *redis.Options) *goredis.Client {
	clone := *opts
	c := goredis.NewClient(&clone)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func openBackend(t testing.TB, config redis.Config) session.Backend {
	t.Helper()
	return backendtest.Open(t, redis.Open, config)
}

func openStore(t testing.TB, config redis.Config) session.Store {
	t.Helper()
	return backendtest.OpenStore(t, redis.Initer(), config)
}

var (
	noID     = backendtest.NoID
	rec      = backendtest.Record
	deadline = backendtest.Deadline
	winners  = backendtest.Winners
)

// startPrivate starts a server that a test may kill.
func startPrivate(t testing.TB, args ...string) *testserver.RedisServer {
	t.Helper()
	return testserver.StartRedis(t, args...)
}

// within is the error of a call that must end in time.
func within(t testing.TB, limit time.Duration, call func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		t.Fatalf("not at its end after %v", limit)
		return nil
	}
}
