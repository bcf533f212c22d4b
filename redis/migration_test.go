package redis_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis"
)

// beginMigration lets the slot of a key be on its way from its master to another one, with the keys
// already there. It returns both, and a function that moves what is left and gives the slot to the target.
func beginMigration(t *testing.T, masters []*testserver.RedisServer, key string, keys ...string) (source, target *testserver.RedisServer, end func()) {
	t.Helper()
	slot := masters[0].MustDo(t, "CLUSTER", "KEYSLOT", key)
	n, err := strconv.Atoi(slot)
	require.NoError(t, err)
	i := 0
	for n >= (i+1)<<14/len(masters) {
		i++
	}
	source, target = masters[i], masters[(i+1)%len(masters)]
	id := func(s *testserver.RedisServer) string { return s.MustDo(t, "CLUSTER", "MYID") }
	target.MustDo(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", id(source))
	source.MustDo(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", id(target))
	host, port, err := net.SplitHostPort(target.Addr)
	require.NoError(t, err)
	migrate := func(keys []string) {
		for _, key := range keys {
			source.MustDo(t, "MIGRATE", host, port, key, "0", "5000")
		}
	}
	migrate(keys)
	return source, target, func() {
		migrate(strings.Fields(source.MustDo(t, "CLUSTER", "GETKEYSINSLOT", slot, "1000")))
		for _, s := range []*testserver.RedisServer{target, source} {
			s.MustDo(t, "CLUSTER", "SETSLOT", slot, "NODE", id(target))
		}
	}
}

// moving is a client that learns which server has which slots.
func moving(t testing.TB, masters []*testserver.RedisServer) *goredis.ClusterClient {
	var addrs []string
	for _, s := range masters {
		addrs = append(addrs, s.Addr)
	}
	c := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: addrs, ClusterSlots: redis.ClusterSlots(redis.Options{}, addrs...)})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// While a slot is on its way all operations succeed, also those on keys that are at the target, and
// that with one key at the source and one that has to be at the target. When the slot has moved,
// they succeed too.
func TestMigration(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"session:", "{session}:"} {
		t.Run(prefix, func(t *testing.T) {
			t.Parallel()
			ctx := deadline(t, time.Minute)
			masters := testserver.StartRedisCluster(t, 3)
			b := openBackend(t, redis.Config{Client: moving(t, masters), KeyPrefix: prefix})
			yes := yes(t)
			yes(b.Insert(ctx, "moved", rec("one", time.Minute)))
			yes(b.Insert(ctx, "stays", rec("one", time.Minute)))
			source, target, end := beginMigration(t, masters, prefix+"moved", prefix+"moved")
			for _, s := range []*testserver.RedisServer{source, target} { // which do not know the scripts of the other
				s.MustDo(t, "SCRIPT", "FLUSH")
			}
			use := func(round int) {
				for _, sid := range []string{"moved", "stays"} {
					r, found, err := b.Load(ctx, sid)
					yes(found, err)
					yes(b.Swap(ctx, sid, r.Data, rec(fmt.Sprint("two", round), time.Minute)))
					require.NoError(t, b.Extend(ctx, sid, time.Hour))
					yes(b.Rename(ctx, sid, sid+"renamed", []byte(fmt.Sprint("two", round)), rec("three", time.Minute)))
					_, found, err = b.Load(ctx, sid)
					require.NoError(t, err)
					require.False(t, found, "the old ID of %s is alive", sid)
					yes(b.Rename(ctx, sid+"renamed", sid, []byte("three"), rec("four", time.Minute)))
				}
				yes(b.Insert(ctx, "new", rec("one", time.Minute)))
				require.NoError(t, b.Delete(ctx, "new"))
			}
			use(1)
			for _, sid := range []string{"moved", "stays"} { // what is at the target in the end
				key := prefix + sid
				if source.MustDo(t, "CLUSTER", "KEYSLOT", key) == source.MustDo(t, "CLUSTER", "KEYSLOT", prefix+"moved") {
					_, err := source.Do("GET", key)
					require.ErrorContains(t, err, "ASK", sid)
				}
			}
			end()
			use(2)
		})
	}
}

// A write whose answer was lost is not made again, whatever MaxRedirects says.
func TestClusterClientMakesNoWriteTwice(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, time.Minute)
	p := startCluster(t)
	lost := &loseAnswer{}
	b := openBackend(t, redis.Config{Client: cluster(t, p.Addr, lost)})
	_, err := b.Insert(ctx, "abc", rec("one", time.Minute))
	require.NoError(t, err)
	_, err = b.Swap(ctx, "abc", []byte("one"), rec("one", time.Minute)) // the server learns the script
	require.NoError(t, err)
	lost.on = true
	_, err = b.Swap(ctx, "abc", []byte("one"), rec("two", time.Minute))
	require.Error(t, err)
	require.NotErrorIs(t, err, session.ErrNotApplied)
	require.Equal(t, 1, lost.n)
}

// loseAnswer has the answers to scripts that write be lost.
type loseAnswer struct {
	goredis.Hook
	on bool
	n  int
}

func (*loseAnswer) BeforeProcess(ctx context.Context, _ goredis.Cmder) (context.Context, error) {
	return ctx, nil
}

func (l *loseAnswer) AfterProcess(_ context.Context, cmd goredis.Cmder) error {
	if l.on && cmd.Name() == "evalsha" && cmd.Err() == nil {
		l.n++
		return &net.OpError{Op: "read", Err: net.ErrClosed}
	}
	return nil
}

// The function for the slots asks another server if one does not answer, and those that it has been
// told of.
func TestClusterSlots(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, time.Minute)
	masters := testserver.StartRedisCluster(t, 3)
	alone := startPrivate(t, "--cluster-enabled", "yes", "--cluster-port", freePort(t))
	f := redis.ClusterSlots(redis.Options{}, alone.Addr, "127.0.0.1:1", masters[0].Addr)
	check := func() {
		t.Helper()
		for range 5 {
			slots, err := f(ctx)
			require.NoError(t, err)
			require.Len(t, slots, 3)
			end := -1
			for i, slot := range slots {
				require.Equal(t, end+1, slot.Start)
				end = slot.End
				require.Len(t, slot.Nodes, 1)
				require.Equal(t, masters[i].Addr, slot.Nodes[0].Addr)
			}
			require.Equal(t, 1<<14-1, end)
		}
	}
	check()

	without := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: []string{masters[0].Addr}})
	t.Cleanup(func() { _ = without.Close() })
	_, _, err := redis.Open(ctx, redis.Config{Client: without})
	require.ErrorContains(t, err, "needs ClusterSlots")

	masters[0].Kill() // the others do not know yet that it is down
	check()

	_, err = redis.ClusterSlots(redis.Options{}, "127.0.0.1:1")(ctx)
	require.ErrorContains(t, err, "refused")
	_, err = redis.ClusterSlots(redis.Options{}, alone.Addr)(ctx)
	require.Error(t, err)
	_, err = redis.ClusterSlots(redis.Options{})(ctx)
	require.EqualError(t, err, "no address of the Cluster")
}

func freePort(t testing.TB) string {
	t.Helper()
	port, err := testserver.FreePort()
	require.NoError(t, err)
	return port
}

// Replies of another form are errors, and a host that is not named is that of the question.
func TestParseSlots(t *testing.T) {
	t.Parallel()
	list := func(elements ...interface{}) []interface{} { return elements }
	slots, err := redis.ParseSlots(list(
		list(int64(0), int64(9), list("10.0.0.1", int64(1), "id", list("hostname", "a")), list("", int64(2), "id")),
		list(int64(10), int64(11), list(nil, int64(3), "id"), list("?", int64(4))),
	), "host")
	require.NoError(t, err)
	require.Equal(t, []goredis.ClusterSlot{
		{Start: 0, End: 9, Nodes: []goredis.ClusterNode{{Addr: "10.0.0.1:1"}, {Addr: "host:2"}}},
		{Start: 10, End: 11, Nodes: []goredis.ClusterNode{{Addr: "host:3"}, {Addr: "host:4"}}},
	}, slots)
	for _, reply := range []interface{}{
		nil, "text", list(), list("x"), list(list(int64(1), int64(2))), list(list("1", int64(2), list("a", int64(1)))),
		list(list(int64(1), int64(2), "a")), list(list(int64(1), int64(2), list("a"))),
	} {
		_, err := redis.ParseSlots(reply, "host")
		require.Error(t, err, "%v", reply)
	}
}

// With owners, too, writes succeed while the slot of all sessions is on its way.
func TestMigrationOfOwned(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, time.Minute)
	masters := testserver.StartRedisCluster(t, 3)
	b := openOwners(t, redis.Config{Client: moving(t, masters), KeyPrefix: "{session}:"})
	yes := yes(t)
	yes(b.Insert(ctx, "abc", owned("one", "a", "", time.Hour)))
	yes(b.Insert(ctx, "def", owned("one", "a", "", time.Hour)))
	_, _, end := beginMigration(t, masters, "{session}:", "{session}:abc")
	yes(b.Swap(ctx, "abc", []byte("one"), owned("two", "a", "a", time.Hour)))
	yes(b.Swap(ctx, "def", []byte("one"), owned("two", "b", "a", time.Hour)))
	yes(b.Rename(ctx, "abc", "ghi", []byte("two"), owned("three", "a", "a", time.Hour)))
	yes(b.Insert(ctx, "new", owned("one", "b", "", time.Hour)))
	end()
	require.Equal(t, []string{"ghi"}, idsOf(t, b, "a"))
	require.ElementsMatch(t, []string{"def", "new"}, idsOf(t, b, "b"))
}
