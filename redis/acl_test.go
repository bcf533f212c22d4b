package redis_test

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis"
)

// aclOf returns the commands that the package doc lists for a user, by the words before
// them.
func aclOf(t *testing.T, words string) []string {
	text, err := os.ReadFile("redis.go")
	require.NoError(t, err)
	doc := strings.Join(strings.Fields(strings.ReplaceAll(string(text), "\n//", "\n")), " ")
	found := regexp.MustCompile(regexp.QuoteMeta(words) + ` ([a-z|+ ]+)\.`).FindStringSubmatch(doc)
	require.NotNil(t, found, "the package doc does not say: %s", words)
	return strings.Fields(found[1])
}

// useAll opens a store and does all that a store does, or all that a store of owners does. The
// old ID of a renewal and the new one are in different slots of a Cluster.
func useAll(t *testing.T, config redis.Config, owners bool) error {
	ctx := deadline(t, 20*time.Second)
	b, _, err := redis.Open(ctx, config)
	if err != nil {
		return err
	}
	defer func() { require.NoError(t, b.(interface{ Close() error }).Close()) }()
	owned := func(rec session.Record, owner, former string) session.Record { return rec }
	if owners {
		if err := b.(session.OwnerIniter).InitOwners(ctx); err != nil {
			return err
		}
		owned = func(rec session.Record, owner, former string) session.Record {
			rec.Owner, rec.Former = owner, former
			return rec
		}
	}
	var first error
	check := func(ok bool, err error) {
		if err == nil && !ok {
			t.Error("refused without an error")
		}
		if first == nil {
			first = err
		}
	}
	for _, sid := range []string{"old", "renewed"} {
		check(true, b.Delete(ctx, sid))
	}
	check(b.Insert(ctx, "old", owned(rec("one", time.Minute), "a", "")))
	_, found, err := b.Load(ctx, "old")
	check(found, err)
	check(b.Swap(ctx, "old", []byte("one"), owned(rec("two", time.Minute), "b", "a")))
	check(true, b.Extend(ctx, "old", time.Hour))
	check(b.Rename(ctx, "old", "renewed", []byte("two"), owned(rec("three", time.Minute), "b", "b")))
	if owners {
		for owner, want := range map[string]int{"a": 0, "b": 1} {
			list, err := b.(session.OwnerIndex).Owned(ctx, owner)
			check(len(list) == want, err)
		}
	}
	check(true, b.Delete(ctx, "renewed"))
	return first
}

// A user with the commands of the package doc can do all that the store does, and with any
// of them less cannot.
func TestACL(t *testing.T) {
	t.Parallel()
	server, cluster := testserver.StartRedis(t), testserver.StartRedisCluster(t, 3)
	commands, ofOwners := aclOf(t, "The user needs these commands:"), aclOf(t, "With Options.OwnerKey also")
	for name, test := range map[string]struct {
		servers []*testserver.RedisServer
		more    []string
		config  func() redis.Config
	}{
		"one server": {[]*testserver.RedisServer{server}, nil, func() redis.Config {
			return redis.Config{Options: &redis.Options{Addr: server.Addr, Username: "app", Password: secret}}
		}},
		"another database": {[]*testserver.RedisServer{server}, aclOf(t, "with a DB other than 0 also"), func() redis.Config {
			return redis.Config{Options: &redis.Options{Addr: server.Addr, Username: "app", Password: secret, DB: 3}}
		}},
		"Cluster with a hash tag": {cluster, nil, func() redis.Config {
			return redis.Config{KeyPrefix: "session:{tag}:", Client: clusterClient(t, &goredis.ClusterOptions{
				Username: "app", Password: secret, MaxRedirects: -1,
			}, cluster...)}
		}},
		"Cluster": {cluster, nil, func() redis.Config {
			return redis.Config{Client: clusterClient(t, &goredis.ClusterOptions{
				Username: "app", Password: secret, MaxRedirects: -1,
			}, cluster...)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			may := func(commands ...string) {
				for _, s := range test.servers {
					s.MustDo(t, append([]string{"ACL", "SETUSER", "app", "reset", "on", ">" + secret, "~session:*"}, commands...)...)
				}
			}
			for _, owners := range []bool{false, true} {
				all := slices.Concat(commands, test.more)
				if owners {
					all = slices.Concat(all, ofOwners)
				}
				may(all...)
				require.NoError(t, useAll(t, test.config(), owners))
				for i, command := range all {
					may(slices.Delete(slices.Clone(all), i, i+1)...)
					err := useAll(t, test.config(), owners)
					require.Error(t, err, "it works without %s", command)
					require.Contains(t, err.Error(), strings.ToUpper(command[1:]), "the error does not say what is missing")
					require.NotContains(t, err.Error(), "app")
				}
			}
		})
	}
}

// A user who may not use the keys is told so.
func TestKeyPattern(t *testing.T) {
	t.Parallel()
	s := testserver.StartRedis(t)
	admin := bare(t, &redis.Options{Addr: s.Addr})
	require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", "app", "on", ">password", "~other:*", "+@all").Err())
	_, _, err := redis.Open(t.Context(), redis.Config{Options: &redis.Options{Addr: s.Addr, Username: "app", Password: "password"}})
	require.EqualError(t, err, "redis: the server refuses the keys of the store to this user: NOPERM the user has no access to keys with this KeyPrefix")
}

// clusterClient is a client of a Cluster that StartRedisCluster has started.
func clusterClient(t testing.TB, opts *goredis.ClusterOptions, servers ...*testserver.RedisServer) *goredis.ClusterClient {
	for _, s := range servers {
		opts.Addrs = append(opts.Addrs, s.Addr)
	}
	// Go-redis 8 does not understand the answer of Redis 7 to CLUSTER SLOTS.
	opts.ClusterSlots = func(context.Context) (slots []goredis.ClusterSlot, err error) {
		n := len(servers)
		for i, s := range servers {
			slots = append(slots, goredis.ClusterSlot{
				Start: i << 14 / n, End: (i+1)<<14/n - 1, Nodes: []goredis.ClusterNode{{Addr: s.Addr}},
			})
		}
		return slots, nil
	}
	c := goredis.NewClusterClient(opts)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// A server without one of the commands is found out at the start, and the error says which.
func TestScriptsAreNeeded(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"EVAL", "EVALSHA"} {
		s := testserver.StartRedis(t, "--rename-command", command, "")
		for name, config := range map[string]redis.Config{
			"options": {Options: &redis.Options{Addr: s.Addr}},
			"client":  {Client: bare(t, &redis.Options{Addr: s.Addr})},
		} {
			t.Run(command+"/"+name, func(t *testing.T) {
				_, err := redis.Initer()(t.Context(), config, session.IDWriter(noID))
				require.EqualError(t, err,
					"redis: the server refuses "+command+", and the store needs scripts: ERR unknown command ("+command+")")
			})
		}
	}
	for _, command := range []string{"TIME", "ZADD", "ZREM", "ZREMRANGEBYSCORE", "ZRANGE"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			s := testserver.StartRedis(t, "--rename-command", command, "")
			b := openBackend(t, redis.Config{Options: &redis.Options{Addr: s.Addr}})
			require.EqualError(t, b.(session.OwnerIniter).InitOwners(t.Context()),
				"redis: the server refuses "+command+" to this user, and the store needs it")
		})
	}
	for _, command := range []string{"GET", "SET", "DEL", "PTTL", "PEXPIRE", "EXISTS"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			s := testserver.StartRedis(t, "--rename-command", command, "")
			_, _, err := redis.Open(t.Context(), redis.Config{Options: &redis.Options{Addr: s.Addr}})
			require.EqualError(t, err, "redis: the server refuses "+command+" to this user, and the store needs it")
		})
	}
}

// A server that is loading its data is waited for at the start.
func TestLoading(t *testing.T) {
	t.Parallel()
	instead, config := proxiedInstead(t)
	for range 8 {
		instead <- "-LOADING Redis is loading the dataset in memory\r\n"
	}
	openBackend(t, config)
	require.Empty(t, instead)

	instead, config = proxiedInstead(t)
	for range cap(instead) {
		instead <- "-LOADING Redis is loading the dataset in memory\r\n"
	}
	start := time.Now()
	_, _, err := redis.Open(deadline(t, time.Second/10), config)
	require.ErrorContains(t, err, "LOADING the server is loading its data")
	require.Less(t, time.Since(start), 10*time.Second)
}

// A server that is not there yet is waited for too.
func TestStarting(t *testing.T) {
	t.Parallel()
	p, config := proxied(t)
	p.Stop()
	time.AfterFunc(time.Second, func() { p.Start(t) })
	openBackend(t, config)

	p.Stop()
	_, _, err := redis.Open(deadline(t, time.Second), config)
	require.ErrorContains(t, err, "connection refused")
}
