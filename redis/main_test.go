package redis_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/stretchr/testify/require"

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

// private is a server that a test may kill.
type private struct {
	addr string
	args []string
	cmd  *exec.Cmd
	pipe io.Closer
}

func startPrivate(t testing.TB, args ...string) *private {
	t.Helper()
	testserver.Redis(t) // skips or fails where there is none
	path, err := exec.LookPath("redis-server")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal("no redis-server to start: ", err)
	}
	if err != nil { // REDIS_HOST names a server, which no test may stop
		t.Skip("no redis-server to start, apt-get install redis-server: ", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	host, port, _ := net.SplitHostPort(l.Addr().String())
	p := &private{addr: l.Addr().String()}
	p.args = append([]string{
		path, "--bind", host, "--port", port, "--dir", t.TempDir(), "--save", "", "--appendonly", "no",
	}, args...)
	p.start(t)
	t.Cleanup(p.kill)
	return p
}

func (p *private) start(t testing.TB) {
	t.Helper()
	// The shell ends the server when the pipe closes, so also when we panic.
	p.cmd = exec.Command("sh", append([]string{"-c", `"$@" & read _; kill -9 $!; wait`, "sh"}, p.args...)...)
	var err error
	p.pipe, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	require.Eventually(t, func() bool {
		c := goredis.NewClient(&redis.Options{Addr: p.addr, MaxRetries: -1})
		defer c.Close()
		return c.Ping(context.Background()).Err() == nil
	}, 10*time.Second, 10*time.Millisecond)
}

func (p *private) kill() {
	_ = p.pipe.Close()
	_ = p.cmd.Wait()
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
