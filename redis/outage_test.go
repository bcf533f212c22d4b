package redis_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/redis"
)

func TestScriptsAreSentAgain(t *testing.T) {
	t.Parallel()
	p := startPrivate(t)
	ctx := context.Background()
	b := openBackend(t, redis.Config{Options: &redis.Options{Addr: p.addr}})
	_, err := b.Insert(ctx, "a00", rec("0", time.Minute))
	require.NoError(t, err)
	c := bare(t, &redis.Options{Addr: p.addr})
	for _, step := range []string{"01", "12", "23"} {
		require.NoError(t, c.ScriptFlush(ctx).Err())
		ok, err := b.Swap(ctx, "a00", []byte(step[:1]), rec(step[1:], time.Minute))
		require.NoError(t, err)
		require.True(t, ok)
	}
}

// The pool is full of connections that are dead after a restart; the first
// request of each of many goes through all the same.
func TestRestart(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"own", "shared", "reset"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startPrivate(t)
			p := startProxy(t, server.addr)
			config := redis.Config{Options: &redis.Options{Addr: server.addr, PoolSize: 40}}
			switch name {
			case "shared":
				config.Client = bare(t, config.Options)
			case "reset":
				config.Options.Addr = p.addr
			}
			b := openBackend(t, config)

			ctx := deadline(t, 5*time.Second)
			admin := bare(t, &redis.Options{Addr: server.addr})
			require.NoError(t, admin.Do(ctx, "client", "pause", "300", "all").Err())
			var wg sync.WaitGroup
			for range 40 { // and so there are as many connections
				wg.Go(func() {
					_, _, err := b.Load(ctx, "a00")
					assert.NoError(t, err)
				})
			}
			wg.Wait()
			if name == "reset" {
				p.reset()
			} else {
				server.kill()
				server.start(t)
			}

			ctx = deadline(t, 5*time.Second)
			ok, err := b.Insert(ctx, "a00", rec("one", time.Minute))
			require.NoError(t, err)
			require.True(t, ok)
			require.EqualValues(t, 1, winners(t, func(int) (bool, error) {
				return b.Swap(ctx, "a00", []byte("one"), rec("two", time.Minute))
			}))
		})
	}
}

// After more failures than the pool is large, go-redis would not try for a second.
func TestFirstRequestAfterOutage(t *testing.T) {
	t.Parallel()
	p := startPrivate(t)
	b := openBackend(t, redis.Config{Options: &redis.Options{Addr: p.addr, PoolSize: 2}})
	ctx := context.Background()
	p.kill()
	for range 5 {
		_, _, err := b.Load(ctx, "a00")
		require.ErrorContains(t, err, "connection refused")
	}
	p.start(t)
	for range 20 {
		_, _, err := b.Load(ctx, "a00")
		require.NoError(t, err)
	}
}

// A lost answer is not an error, and what was written once is not lost.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config := testConfig(t)
	p := startProxy(t, config.Options.Addr)
	config.Options.Addr = p.addr
	store := openStore(t, config)

	require.NoError(t, store.Save(ctx, session.NewBaseSessionWithData("abc", session.GobEncoder, noID, session.Data{"n": 0})))
	for n := 1; n < 20; n++ {
		s, err := store.Read(ctx, "abc")
		require.NoError(t, err)
		require.Equal(t, n-1, s.Get("n"))
		s.Set("n", n)
		p.lose.Store(true)
		require.NoError(t, store.Save(ctx, s))
		require.False(t, p.lose.Load())
	}
}

func TestDeadline(t *testing.T) {
	muted := testConfig(t)
	p := startProxy(t, muted.Options.Addr)
	muted.Options.Addr = p.addr
	muted.Options.ReadTimeout = time.Minute // of which nobody waits for the end

	// A dialer that heeds no context, and a pool that dials for every command.
	slow := testConfig(t)
	var late atomic.Bool
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	slow.Options.MaxConnAge = time.Nanosecond
	slow.Options.Dialer = func(_ context.Context, network, addr string) (net.Conn, error) {
		if late.Load() {
			<-end
		}
		return net.Dial(network, addr)
	}
	shared := slow
	shared.Client = bare(t, slow.Options)

	backends := map[string]session.Backend{
		"no answer":          openBackend(t, muted),
		"slow dialer":        openBackend(t, slow),
		"slow shared dialer": openBackend(t, shared),
	}
	p.mute.Store(true)
	late.Store(true)

	for name, b := range backends {
		for op, call := range map[string]func(context.Context) error{
			"load":   func(ctx context.Context) error { _, _, err := b.Load(ctx, "abc"); return err },
			"insert": func(ctx context.Context) error { _, err := b.Insert(ctx, "abc", rec("x", time.Minute)); return err },
			"swap":   func(ctx context.Context) error { _, err := b.Swap(ctx, "abc", nil, rec("x", time.Minute)); return err },
			"extend": func(ctx context.Context) error { return b.Extend(ctx, "abc", time.Minute) },
			"delete": func(ctx context.Context) error { return b.Delete(ctx, "abc") },
		} {
			t.Run(name+"/"+op, func(t *testing.T) {
				start := time.Now()
				require.Error(t, call(deadline(t, 200*time.Millisecond)))
				assert.Less(t, time.Since(start), 20*time.Second)
				canceled, cancel := context.WithCancel(context.Background())
				time.AfterFunc(100*time.Millisecond, cancel)
				start = time.Now()
				require.Error(t, call(canceled))
				assert.Less(t, time.Since(start), 20*time.Second)
			})
		}
	}
}
