package redis_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis"
	"github.com/flamego/session/redis/internal/script"
)

func TestOwners(t *testing.T) {
	t.Parallel()
	server := testConfig(t)
	masters := testserver.StartRedisCluster(t, 3)
	client := func() goredis.UniversalClient {
		return clusterClient(t, &goredis.ClusterOptions{MaxRedirects: -1}, masters...)
	}
	node := startCluster(t).Addr
	for name, test := range map[string]struct {
		config redis.Config
		apart  bool
	}{
		"one server":                        {server, false},
		"shared client":                     {redis.Config{Client: bare(t, server.Options), KeyPrefix: server.KeyPrefix + "shared:"}, false},
		"no prefix":                         {redis.Config{Options: &redis.Options{Addr: startPrivate(t).Addr}, NoKeyPrefix: true}, false},
		"Cluster with a hash tag":           {redis.Config{Client: client(), KeyPrefix: "{session}:"}, false},
		"Cluster":                           {redis.Config{Client: client()}, true},
		"Cluster without prefix":            {redis.Config{Client: client(), NoKeyPrefix: true}, true},
		"one server of a Cluster, hash tag": {redis.Config{Options: &redis.Options{Addr: node}, KeyPrefix: "{session}:"}, false},
		"one server of a Cluster":           {redis.Config{Options: &redis.Options{Addr: node}}, true},
		"client of unknown kind":            {redis.Config{Client: struct{ goredis.UniversalClient }{cluster(t, node)}, KeyPrefix: "unknown:"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := openBackend(t, test.config)
			if test.apart {
				backendtest.OwnersApart(t, b, "owners")
				return
			}
			backendtest.Owners(t, b, "owners")
			backendtest.OwnedBesideRenewals(t, b, "beside")
			// A ClusterClient of go-redis 8 takes much longer.
			if test.config.Client == nil && !test.config.NoKeyPrefix {
				backendtest.EndOwnedBesideRenewals(t, b, "end", 4, 40)
			}
		})
	}
}

// openOwners opens a backend with an index of owners.
func openOwners(t testing.TB, config redis.Config) ownersBackend {
	t.Helper()
	b := openBackend(t, config).(ownersBackend)
	require.NoError(t, b.InitOwners(t.Context()))
	return b
}

type ownersBackend interface {
	session.Backend
	session.OwnerIndex
	session.OwnerIniter
}

func owned(data, owner, former string, ttl time.Duration) session.Record {
	return session.Record{Data: []byte(data), TTL: ttl, Owner: owner, Former: former}
}

// yes is for a write that is made.
func yes(t testing.TB) func(bool, error) {
	return func(ok bool, err error) {
		t.Helper()
		require.NoError(t, err)
		require.True(t, ok)
	}
}

// idsOf are the session IDs of a list.
func idsOf(t testing.TB, b session.OwnerIndex, owner string) (ids []string) {
	t.Helper()
	list, err := b.Owned(t.Context(), owner)
	require.NoError(t, err)
	for _, r := range list {
		ids = append(ids, r.ID)
	}
	slices.Sort(ids)
	return ids
}

// The set of an owner has what it should have, and ends.
func TestOwnerSets(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	config := testConfig(t)
	b, c, yes := openOwners(t, config), bare(t, config.Options), yes(t)
	key := func(owner string) string { return config.KeyPrefix + "flamego::session::owner:" + owner }
	members := func(owner string) []string { return c.ZRange(ctx, key(owner), 0, -1).Val() }
	endsIn := func(owner string, want time.Duration) {
		t.Helper()
		require.InDelta(t, want+time.Minute, c.PTTL(ctx, key(owner)).Val(), float64(10*time.Second))
	}

	// It lives as long as its last member, and a score is the end of a record.
	yes(b.Insert(ctx, "a00", owned("one", "a", "a", time.Hour))) // it replaces nothing, so has no former owner
	require.Equal(t, []string{"a00"}, members("a"))
	endsIn("a", time.Hour)
	yes(b.Insert(ctx, "a01", owned("one", "a", "", time.Minute)))
	endsIn("a", time.Hour)
	yes(b.Swap(ctx, "a01", []byte("one"), owned("one", "a", "a", 2*time.Hour)))
	endsIn("a", 2*time.Hour)
	for _, sid := range []string{"a00", "a01"} {
		ends, err := c.Do(ctx, "PEXPIRETIME", config.KeyPrefix+sid).Int64()
		require.NoError(t, err)
		require.InDelta(t, ends+60_000, c.ZScore(ctx, key("a"), sid).Val(), 500)
	}

	// Another owner, another ID, and no owner leave no trace.
	yes(b.Swap(ctx, "a00", []byte("one"), owned("two", "b", "a", time.Hour)))
	require.Equal(t, []string{"a01"}, members("a"))
	yes(b.Rename(ctx, "a00", "a02", []byte("two"), owned("three", "b", "b", time.Hour)))
	require.Equal(t, []string{"a02"}, members("b"))
	yes(b.Rename(ctx, "a02", "a03", []byte("three"), owned("four", "a", "b", time.Hour)))
	require.Equal(t, []string{"a03", "a01"}, members("a"))
	yes(b.Rename(ctx, "a03", "a04", []byte("four"), owned("five", "", "a", time.Hour)))
	yes(b.Swap(ctx, "a01", []byte("one"), owned("two", "", "a", time.Hour)))
	require.Empty(t, c.Keys(ctx, key("*")).Val())

	// What a delete leaves goes with a new session, or a list.
	for i := range 3 {
		yes(b.Insert(ctx, fmt.Sprint("gone", i), owned("one", "c", "", time.Hour)))
	}
	yes(b.Insert(ctx, "c00", owned("one", "c", "", 2*time.Hour)))
	for i := range 3 {
		require.NoError(t, b.Delete(ctx, fmt.Sprint("gone", i)))
	}
	require.Len(t, members("c"), 4)
	yes(b.Insert(ctx, "c01", owned("one", "c", "", 3*time.Hour)))
	require.Equal(t, []string{"c00", "c01"}, members("c"))
	require.NoError(t, b.Delete(ctx, "c00"))
	require.Equal(t, []string{"c01"}, idsOf(t, b, "c"))
	require.Equal(t, []string{"c01"}, members("c"))
	require.NoError(t, b.Delete(ctx, "c01"))
	require.Empty(t, idsOf(t, b, "c"))
	require.Zero(t, c.Exists(ctx, key("c")).Val())

	// Members that are past go with each write, an extend too.
	yes(b.Insert(ctx, "d00", owned("one", "d", "", time.Hour)))
	for i := range 10 { // more than a new member looks at
		require.NoError(t, c.ZAdd(ctx, key("d"), &goredis.Z{Score: float64(c.Time(ctx).Val().UnixMilli() - 1), Member: fmt.Sprint("past", i)}).Err())
	}
	yes(b.Swap(ctx, "d00", []byte("one"), owned("one", "d", "d", time.Hour)))
	require.Equal(t, []string{"d00"}, members("d"))

	// Above 4 KiB the server compares a hash.
	large := strings.Repeat("x", 5000)
	yes(b.Insert(ctx, "e00", owned(large, "e", "", time.Hour)))
	ok, err := b.Swap(ctx, "e00", []byte(strings.Repeat("y", 5000)), owned("two", "f", "e", time.Hour))
	require.NoError(t, err)
	require.False(t, ok)
	yes(b.Swap(ctx, "e00", []byte(large), owned(large, "f", "e", time.Hour)))
	yes(b.Rename(ctx, "e00", "e01", []byte(large), owned(large, "f", "f", time.Hour)))
	require.Empty(t, members("e"))
	require.Equal(t, []string{"e01"}, members("f"))
}

// Without a hash tag a set loses what is past, and a change of owner leaves no trace, too.
func TestOwnerSetsApart(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	options := &redis.Options{Addr: startCluster(t).Addr}
	b, c, yes := openOwners(t, redis.Config{Options: options}), bare(t, options), yes(t)
	key := func(owner string) string { return "session:flamego::session::owner:" + owner }
	members := func(owner string) []string { return c.ZRange(ctx, key(owner), 0, -1).Val() }
	yes(b.Insert(ctx, "a00", owned("one", "a", "a", time.Hour))) // it replaces nothing, so has no former owner
	require.Equal(t, []string{"a00"}, members("a"))
	require.InDelta(t, time.Hour+time.Minute, c.PTTL(ctx, key("a")).Val(), float64(10*time.Second))
	require.NoError(t, c.ZAdd(ctx, key("a"), &goredis.Z{Score: 1, Member: "past"}).Err())
	yes(b.Swap(ctx, "a00", []byte("one"), owned("one", "a", "a", time.Hour)))
	require.Equal(t, []string{"a00"}, members("a"))
	yes(b.Rename(ctx, "a00", "a01", []byte("one"), owned("two", "a", "a", time.Hour)))
	require.Equal(t, []string{"a01"}, members("a"))
	yes(b.Swap(ctx, "a01", []byte("two"), owned("three", "b", "a", time.Hour)))
	yes(b.Rename(ctx, "a01", "a02", []byte("three"), owned("four", "", "b", time.Hour)))
	require.Empty(t, members("a"))
	require.Empty(t, members("b"))
	require.Equal(t, "four", c.Get(ctx, "session:a02").Val())

	// A list leaves an entry whose record may be on its way.
	yes(b.Insert(ctx, "c00", owned("one", "c", "", time.Hour)))
	require.NoError(t, c.ZAdd(ctx, key("c"), &goredis.Z{Score: 1e15, Member: "coming"}, &goredis.Z{Score: 1, Member: "past"}).Err())
	require.Equal(t, []string{"c00"}, idsOf(t, b, "c"))
	require.Equal(t, []string{"c00", "coming"}, members("c"))
}

// The two keys of the check are never in one slot by chance.
func TestCheckOfSlots(t *testing.T) {
	t.Parallel()
	s := startCluster(t)
	for _, prefix := range []string{"", "session:", "a", "app{", "}", "{}", "é:"} {
		slot := func(key string) string { return s.MustDo(t, "CLUSTER", "KEYSLOT", prefix+key) }
		require.NotEqual(t, slot(script.CheckKey), slot(script.CheckOtherKey), prefix)
	}
}

// An owner may have thousands of sessions.
func TestManyOwned(t *testing.T) {
	t.Parallel()
	single, node := testConfig(t), startCluster(t).Addr
	for name, config := range map[string]redis.Config{
		"one server":    single,
		"Cluster":       {Options: &redis.Options{Addr: node}},
		"ClusterClient": {Client: cluster(t, node), KeyPrefix: "client:"},
	} {
		t.Run(name, func(t *testing.T) {
			b, n := openOwners(t, config), 10_000
			if config.Client != nil {
				n = 600 // go-redis 8 asks for all commands before each
			}
			c := bare(t, single.Options)
			if config.KeyPrefix != single.KeyPrefix {
				c = bare(t, &redis.Options{Addr: node})
			}
			prefix := config.KeyPrefix
			if prefix == "" {
				prefix = "session:"
			}
			ctx := deadline(t, time.Minute)
			data := strings.Repeat("x", 500)
			pipe := c.Pipeline()
			for i := range n { // by hand, which is faster
				pipe.Set(ctx, fmt.Sprint(prefix, "many", i), data, time.Hour)
				pipe.ZAdd(ctx, prefix+"flamego::session::owner:many", &goredis.Z{Score: 1e15, Member: fmt.Sprint("many", i)})
			}
			_, err := pipe.Exec(ctx)
			require.NoError(t, err)
			require.Len(t, idsOf(t, b, "many"), n)

			pipe = c.Pipeline()
			for i := range n - 1 {
				pipe.Del(ctx, fmt.Sprint(prefix, "many", i))
			}
			_, err = pipe.Exec(ctx)
			require.NoError(t, err)
			require.Equal(t, []string{fmt.Sprint("many", n-1)}, idsOf(t, b, "many"))
		})
	}
}

// A key of the app that is no text is no record, whatever the set says.
func TestOwnedAmongKeysOfTheApp(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	node := startCluster(t).Addr
	for name, config := range map[string]redis.Config{
		"one server":    {Options: &redis.Options{Addr: startPrivate(t).Addr}},
		"Cluster":       {Options: &redis.Options{Addr: node}},
		"ClusterClient": {Client: cluster(t, node)},
	} {
		for _, noPrefix := range []bool{false, true} {
			config.NoKeyPrefix = noPrefix
			t.Run(fmt.Sprint(name, noPrefix), func(t *testing.T) {
				b, c := openOwners(t, config), config.Client
				if c == nil {
					c = bare(t, config.Options)
				}
				prefix := ""
				if !noPrefix {
					prefix = "session:"
				}
				sids := []string{"abc0123456789012", "def0123456789012"}
				for _, sid := range sids {
					require.NoError(t, c.Del(ctx, prefix+sid).Err())
					yes(t)(b.Insert(ctx, sid, owned("one", "a", "", time.Hour)))
				}
				require.NoError(t, c.Del(ctx, prefix+sids[0]).Err())
				require.NoError(t, c.LPush(ctx, prefix+sids[0], "x").Err())
				require.Equal(t, sids[1:], idsOf(t, b, "a"))
			})
		}
	}
}

// What fails at the entry has not written the record, and says so.
func TestEntryFails(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	node := startCluster(t).Addr
	for name, config := range map[string]redis.Config{
		"one server": testConfig(t),
		"Cluster":    {Options: &redis.Options{Addr: node}, KeyPrefix: "fails:"},
	} {
		t.Run(name, func(t *testing.T) {
			b, c := openOwners(t, config), bare(t, config.Options)
			yes(t)(b.Insert(ctx, "abc", owned("one", "a", "", time.Hour)))
			require.NoError(t, c.Set(ctx, config.KeyPrefix+"flamego::session::owner:bad", "of another kind", 0).Err())
			for what, write := range map[string]func(owner, former string) (bool, error){
				"insert": func(owner, former string) (bool, error) {
					return b.Insert(ctx, "def", owned("two", owner, former, time.Hour))
				},
				"swap": func(owner, former string) (bool, error) {
					return b.Swap(ctx, "abc", []byte("one"), owned("two", owner, former, time.Hour))
				},
				"rename": func(owner, former string) (bool, error) {
					return b.Rename(ctx, "abc", "ghi", []byte("one"), owned("two", owner, former, time.Hour))
				},
			} {
				ok, err := write("bad", "a")
				require.False(t, ok)
				require.ErrorIs(t, err, session.ErrNotApplied, what)
				require.ErrorContains(t, err, "WRONGTYPE", what)
				require.Equal(t, "one", c.Get(ctx, config.KeyPrefix+"abc").Val(), what)
				require.Zero(t, c.Exists(ctx, config.KeyPrefix+"def", config.KeyPrefix+"ghi").Val(), what)
				require.Equal(t, []string{"abc"}, idsOf(t, b, "a"), what)
			}
			_, err := b.Owned(ctx, "bad")
			require.ErrorContains(t, err, "WRONGTYPE")

			// The former owner's set cannot fail a write that has been made.
			yes(t)(b.Swap(ctx, "abc", []byte("one"), owned("two", "b", "bad", time.Hour)))
			require.Equal(t, []string{"abc"}, idsOf(t, b, "b"))
			yes(t)(b.Rename(ctx, "abc", "def", []byte("two"), owned("three", "b", "bad", time.Hour)))
			require.Equal(t, []string{"def"}, idsOf(t, b, "b"))
		})
	}
}
