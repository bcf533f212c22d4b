package anyclient_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis/anyclient"
)

func TestOwners(t *testing.T) {
	t.Parallel()
	server, _ := testConfig(t)
	node := testserver.StartRedisCluster(t, 1)[0].Addr
	client := goredis.NewClusterClient(&goredis.ClusterOptions{
		Addrs: []string{node}, MaxRedirects: -1,
		// Go-redis 8 does not understand the answer of Redis 7 to CLUSTER SLOTS.
		ClusterSlots: func(context.Context) ([]goredis.ClusterSlot, error) {
			return []goredis.ClusterSlot{{End: 16383, Nodes: []goredis.ClusterNode{{Addr: node}}}}, nil
		},
	})
	t.Cleanup(func() { _ = client.Close() })
	cluster := anyclient.GoRedis(client)
	for name, test := range map[string]struct {
		config anyclient.Config
		apart  bool
	}{
		"one server":              {server, false},
		"Cluster with a hash tag": {anyclient.Config{Eval: cluster, Cluster: true, KeyPrefix: "{session}:"}, false},
		"Cluster":                 {anyclient.Config{Eval: cluster, Cluster: true}, true},
		"Cluster without prefix":  {anyclient.Config{Eval: cluster, Cluster: true, NoKeyPrefix: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t, test.config)
			if test.apart {
				backendtest.OwnersApart(t, b, "owners")
				return
			}
			backendtest.Owners(t, b, "owners")
			backendtest.OwnedBesideRenewals(t, b, "beside")
			if name == "one server" { // a ClusterClient of go-redis 8 takes much longer
				backendtest.EndOwnedBesideRenewals(t, b, "end", 4, 40)
			}
		})
	}

	// Two keys in two slots are refused at start, not in a request.
	for _, noPrefix := range []bool{false, true} {
		_, _, err := anyclient.Open(t.Context(), anyclient.Config{Eval: cluster, NoKeyPrefix: noPrefix})
		require.EqualError(t, err, "redis: connect: CROSSSLOT the keys are in two slots: for a Cluster set Config.Cluster, or a KeyPrefix with a hash tag")
	}
}

// How often Eval is called.
func TestScriptsOfOwners(t *testing.T) {
	t.Parallel()
	good, _ := testConfig(t)
	for _, apart := range []bool{false, true} {
		var calls atomic.Int64
		config := good
		config.Cluster = apart
		config.KeyPrefix += fmt.Sprint(apart, ":")
		config.Eval = func(ctx context.Context, script string, keys []string, args ...string) (any, error) {
			calls.Add(1)
			return good.Eval(ctx, script, keys, args...)
		}
		b := open(t, config)
		require.NoError(t, b.(session.OwnerIniter).InitOwners(t.Context()))
		ctx, rec := t.Context(), session.Record{Data: []byte("one"), TTL: time.Hour, Owner: "a", Former: "a"}
		count := func(want, wantApart int, op func() (bool, error)) {
			t.Helper()
			calls.Store(0)
			ok, err := op()
			require.NoError(t, err)
			require.True(t, ok)
			if apart {
				want = wantApart
			}
			require.EqualValues(t, want, calls.Load())
		}
		list := func(n int) func() (bool, error) {
			return func() (bool, error) {
				list, err := b.(session.OwnerIndex).Owned(ctx, "a")
				return len(list) == n, err
			}
		}
		for i := range 100 {
			sid, newSID := fmt.Sprint("old", i), fmt.Sprint("new", i)
			count(1, 2, func() (bool, error) { return b.Insert(ctx, sid, rec) })
			count(1, 2, func() (bool, error) { return b.Swap(ctx, sid, rec.Data, rec) })
			count(1, 4, func() (bool, error) { return b.Rename(ctx, sid, newSID, rec.Data, rec) })
		}
		count(1, 101, list(100))
		for i := range 100 {
			count(1, 1, func() (bool, error) { return true, b.Delete(ctx, fmt.Sprint("new", i)) })
		}
		count(1, 101, list(0))
		count(1, 1, func() (bool, error) { return b.Insert(ctx, "none", backendtest.Record("one", time.Hour)) })
	}
}

// A reply of another form, and an error of any of the scripts, is an error of the list.
func TestListFails(t *testing.T) {
	t.Parallel()
	good, _ := testConfig(t)
	failed := goError("ERR canary")
	for _, test := range []struct {
		apart bool
		after int64 // how many calls go well
		reply any
	}{
		{false, 0, failed},
		{false, 0, "text"},
		{false, 0, int64(1)},
		{false, 0, []any{"a", "b"}},
		{false, 0, []any{"a", "b", "c"}},
		{false, 0, []any{"a", int64(1), int64(1)}},
		{false, 0, []any{int64(1), "b", int64(1)}},
		{true, 0, failed},
		{true, 0, "text"},
		{true, 0, []any{"a", int64(1)}},
		{true, 1, failed},
		{true, 1, "text"},
		{true, 30, failed},
	} {
		var fine atomic.Int64
		config := good
		config.Cluster = test.apart
		config.Eval = func(ctx context.Context, script string, keys []string, args ...string) (any, error) {
			if fine.Add(-1) >= 0 {
				return good.Eval(ctx, script, keys, args...)
			}
			err, _ := test.reply.(error)
			return test.reply, err
		}
		fine.Store(1000)
		b := open(t, config)
		for i := range 40 {
			_, err := b.Insert(t.Context(), fmt.Sprint("abc", i), session.Record{Data: []byte("one"), TTL: time.Hour, Owner: "a"})
			require.NoError(t, err)
		}
		fine.Store(test.after)
		list, err := b.(session.OwnerIndex).Owned(t.Context(), "a")
		require.Error(t, err, "%v", test)
		require.NotContains(t, err.Error(), "canary")
		require.Empty(t, list)
	}
}
