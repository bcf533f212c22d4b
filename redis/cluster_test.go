package redis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis"
)

// cluster is a client of a Cluster of one server, with hooks of the client of the server.
func cluster(t testing.TB, addr string, hooks ...goredis.Hook) *goredis.ClusterClient {
	c := goredis.NewClusterClient(&goredis.ClusterOptions{
		Addrs: []string{addr},
		NewClient: func(opts *goredis.Options) *goredis.Client {
			c := goredis.NewClient(opts)
			for _, hook := range hooks {
				c.AddHook(hook)
			}
			return c
		},
		// Go-redis 8 does not understand the answer of Redis 7 to CLUSTER SLOTS.
		ClusterSlots: func(context.Context) ([]goredis.ClusterSlot, error) {
			return []goredis.ClusterSlot{{End: 16383, Nodes: []goredis.ClusterNode{{Addr: addr}}}}, nil
		},
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// startCluster starts a Cluster of one node, which is as strict about slots as
// one of many.
func startCluster(t *testing.T) *testserver.RedisServer {
	return testserver.StartRedisCluster(t, 1)[0]
}

func TestCluster(t *testing.T) {
	t.Parallel()
	p := startCluster(t)
	ctx := context.Background()
	single := &redis.Options{Addr: p.Addr}
	for name, config := range map[string]redis.Config{
		"cluster client":           {KeyPrefix: "a:", Client: cluster(t, p.Addr)},
		"cluster client, one slot": {KeyPrefix: "{b}:", Client: cluster(t, p.Addr)},
		"client of one server":     {KeyPrefix: "c:", Options: single},
		"client of unknown kind":   {KeyPrefix: "d:", Client: struct{ goredis.UniversalClient }{cluster(t, p.Addr)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := openBackend(t, config)
			for n := range 5 {
				old, renamed := fmt.Sprint("old", n), fmt.Sprint("new", n)
				_, err := b.Insert(ctx, old, rec("one", time.Minute))
				require.NoError(t, err)
				ok, err := b.Rename(ctx, old, renamed, []byte("other"), rec("two", time.Minute))
				require.NoError(t, err)
				require.False(t, ok)
				require.EqualValues(t, 1, winners(t, func(i int) (bool, error) {
					return b.Rename(ctx, old, fmt.Sprint(renamed, "by", i), []byte("one"), rec("two", time.Minute))
				}))
				_, found, err := b.Load(ctx, old)
				require.NoError(t, err)
				require.False(t, found)
				ok, err = b.Insert(ctx, renamed, rec("two", time.Minute))
				require.NoError(t, err)
				require.True(t, ok)
				ok, err = b.Swap(ctx, renamed, []byte("two"), rec("three", time.Minute))
				require.NoError(t, err)
				require.True(t, ok)
				require.NoError(t, b.Extend(ctx, renamed, time.Hour))
				r, found, err := b.Load(ctx, renamed)
				require.NoError(t, err)
				require.True(t, found)
				require.Equal(t, "three", string(r.Data))
				require.Greater(t, r.TTL, time.Minute)
				require.NoError(t, b.Delete(ctx, renamed))
			}
		})
	}
}

// failNew is an outage of the slot of the new key.
type failNew struct{ goredis.Hook }

var errOutage = errors.New("outage")

func (failNew) BeforeProcess(ctx context.Context, cmd goredis.Cmder) (context.Context, error) {
	if args := cmd.Args(); len(args) > 3 && args[3] == "session:new" {
		return ctx, errOutage
	}
	return ctx, nil
}
func (failNew) AfterProcess(context.Context, goredis.Cmder) error { return nil }

func TestClusterFailureInBetween(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := cluster(t, startCluster(t).Addr, failNew{})
	b := openBackend(t, redis.Config{Client: c})
	_, err := b.Insert(ctx, "old", rec("one", time.Minute))
	require.NoError(t, err)
	_, err = b.Rename(ctx, "old", "new", []byte("one"), rec("two", time.Minute))
	require.ErrorIs(t, err, errOutage)
	require.NotErrorIs(t, err, session.ErrNotApplied, "the old record is gone")
	for _, sid := range []string{"old", "new"} {
		exists, err := c.Exists(ctx, "session:"+sid).Result()
		require.NoError(t, err)
		require.Zero(t, exists, sid)
	}
}

// sharded spreads keys over two servers that know nothing of slots, as the Ring
// of go-redis does. (The Ring itself does not work with Redis 7.)
type sharded struct {
	goredis.UniversalClient
	new goredis.UniversalClient
}

func (c sharded) of(key string) goredis.UniversalClient {
	if strings.HasPrefix(key, "session:new") {
		return c.new
	}
	return c.UniversalClient
}

func (c sharded) Eval(ctx context.Context, script string, keys []string, args ...interface{}) *goredis.Cmd {
	return c.of(keys[0]).Eval(ctx, script, keys, args...)
}

func (c sharded) EvalSha(ctx context.Context, sha1 string, keys []string, args ...interface{}) *goredis.Cmd {
	return c.of(keys[0]).EvalSha(ctx, sha1, keys, args...)
}

func (c sharded) SetNX(ctx context.Context, key string, val interface{}, ttl time.Duration) *goredis.BoolCmd {
	return c.of(key).SetNX(ctx, key, val, ttl)
}

func TestClientOfManyServers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := sharded{
		bare(t, &redis.Options{Addr: startPrivate(t).Addr}),
		bare(t, &redis.Options{Addr: startPrivate(t).Addr}),
	}
	b := openBackend(t, redis.Config{Client: c})
	_, err := b.Insert(ctx, "old", rec("one", time.Minute))
	require.NoError(t, err)
	ok, err := b.Rename(ctx, "old", "new", []byte("one"), rec("two", time.Minute))
	require.NoError(t, err)
	require.True(t, ok)
	require.Zero(t, c.DBSize(ctx).Val())
	require.Equal(t, "two", c.new.Get(ctx, "session:new").Val())
}

// If the answer to one of the two steps is lost, the session has its new ID or has ended. It
// never has both IDs, and no error says that nothing was done.
func TestClusterLostAnswers(t *testing.T) {
	t.Parallel()
	var loses atomic.Pointer[string] // the key of the step whose answer is lost
	var losing atomic.Bool
	var p *tcpproxy.Proxy
	p = tcpproxy.New(t, startCluster(t).Addr, tcpproxy.Rules{
		Turn: func(question []byte) func() {
			key := loses.Load()
			if key != nil && bytes.Contains(question, []byte(*key)) && bytes.Count(question, []byte("session:")) == 1 {
				loses.Store(nil)
				losing.Store(true)
			}
			return func() {}
		},
		Answer: func(answer []byte) []byte {
			if losing.CompareAndSwap(true, false) {
				p.Cut()
			}
			return answer
		},
	})
	ctx := deadline(t, 20*time.Second)
	for name, config := range map[string]redis.Config{
		"own":     {Options: &redis.Options{Addr: p.Addr()}},
		"cluster": {Client: cluster(t, p.Addr())},
	} {
		b := openBackend(t, config)
		rename := func(n int, key string) (bool, error) {
			old, renamed := fmt.Sprint("old", name, n), fmt.Sprint("new", name, n)
			ok, err := b.Insert(ctx, old, rec("one", time.Minute))
			require.NoError(t, err)
			require.True(t, ok)
			if key != "" {
				key += fmt.Sprint(name, n)
				loses.Store(&key)
			}
			ok, err = b.Rename(ctx, old, renamed, []byte("one"), rec("two", time.Minute))
			require.Nil(t, loses.Load(), "nothing was lost")
			require.NotErrorIs(t, err, session.ErrNotApplied)
			_, found, loadErr := b.Load(ctx, old)
			require.NoError(t, loadErr)
			require.False(t, found, "the old ID is alive")
			_, found, loadErr = b.Load(ctx, renamed)
			require.NoError(t, loadErr)
			require.Equal(t, ok, found)
			return ok, err
		}
		ok, err := rename(0, "") // the server learns the scripts
		require.NoError(t, err)
		require.True(t, ok)

		ok, err = rename(1, "session:old")
		require.False(t, ok)
		require.Error(t, err)
		ok, err = rename(2, "session:new")
		require.NoError(t, err)
		require.True(t, ok)
	}
}
