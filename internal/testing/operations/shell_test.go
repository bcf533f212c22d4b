package operations

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	goredis "github.com/go-redis/redis/v8"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis"
)

// The names on the page are those of one session, and what the lines print.
func TestNames(t *testing.T) {
	t.Parallel()
	needs(t, "sh", "sha256sum", "base32", "od")
	blocks := sectionOf(t, "Names of a session")
	fromID, fromHandle := take(t, &blocks, "From an ID to the SHA-256"), take(t, &blocks, "From a handle to the digest")
	require.Empty(t, blocks)

	require.Contains(t, fromID, "ID="+first+"\n")
	require.Equal(t, sumOf(first)+"  -\n", shell(t, nil, fromID))
	handle := session.Handle(session.NewBaseSession(first, session.GobEncoder, nil))
	require.Contains(t, fromHandle, "HANDLE="+handle+"\n")
	require.Equal(t, sumOf(first)[:20], shell(t, nil, fromHandle))
}

func TestFiles(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the lines are for GNU find and touch")
	}
	needs(t, "sh", "find", "sha256sum")
	dir := filepath.Join(t.TempDir(), "sessions")
	s := &subject{
		opts:    session.Options{Initer: session.FileIniter(), Config: session.FileConfig{RootDir: dir, Lifetime: lifetime}},
		blocks:  sectionOf(t, "Files"),
		digests: true, keeps: true,
		size: `[\d.]+K\t.*\n\d\d+\t.*\n`,
	}
	given := take(t, &s.blocks, "Set first") + "DIR='" + dir + "'\n"
	s.run = func(t *testing.T, b block) string {
		require.Equal(t, "sh", b.lang)
		return shell(t, nil, given+b.code)
	}
	s.entries = func() (names []string) {
		entries, _ := os.ReadDir(filepath.Join(dir, ".owner", sumOf("alice")[:32]))
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	s.test(t)
}

func TestRedis(t *testing.T) {
	t.Parallel()
	server := testserver.StartRedis(t)
	// Without a prefix keys of the app stay, which are no session IDs.
	client := redisClient(t, server.Addr, 1)
	apps := []string{"app:5x1w0aq7m2kd94bn", "queue", "5x1w0aq7m2kd94b-", "UPPER00000000000"}
	for _, key := range apps {
		require.NoError(t, client.Set(t.Context(), key, "app", 0).Err())
	}
	t.Run("prefix", func(t *testing.T) {
		testRedis(t, server.Addr, "", redis.Config{Client: redisClient(t, server.Addr, 0)})
	})
	t.Run("other prefix", func(t *testing.T) {
		testRedis(t, server.Addr, "PREFIX=app-1:s:", redis.Config{Client: redisClient(t, server.Addr, 0), KeyPrefix: "app-1:s:"})
	})
	t.Run("no prefix, another DB", func(t *testing.T) {
		testRedis(t, server.Addr, `PREFIX= IDS='[0-9a-z]\{16\}' CLI='redis-cli -n 1'`, redis.Config{Client: client, NoKeyPrefix: true})
	})
}

func TestRedisCluster(t *testing.T) {
	t.Parallel()
	var addrs []string
	for _, server := range testserver.StartRedisCluster(t, 3) {
		addrs = append(addrs, server.Addr)
	}
	client := goredis.NewClusterClient(&goredis.ClusterOptions{
		Addrs: addrs, ClusterSlots: redis.ClusterSlots(redis.Options{}, addrs...),
	})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	t.Run("prefix", func(t *testing.T) { testRedis(t, addrs[0], "", redis.Config{Client: client}) })
	t.Run("hash tag", func(t *testing.T) {
		testRedis(t, addrs[0], "PREFIX={session}:", redis.Config{Client: client, KeyPrefix: "{session}:"})
	})
}

func redisClient(t *testing.T, addr string, db int) *goredis.Client {
	client := goredis.NewClient(&goredis.Options{Addr: addr, DB: db})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	return client
}

// testRedis runs the section Redis, with some variables set to other values than those of the page.
func testRedis(t *testing.T, addr, set string, config redis.Config) {
	needs(t, "sh", "redis-cli", "sha256sum")
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	config.Lifetime = lifetime
	s := &subject{
		opts:    session.Options{Initer: redis.Initer(), Config: config},
		blocks:  sectionOf(t, "Redis"),
		digests: true,
		oneSize: config.NoKeyPrefix,
	}
	_, isCluster := config.Client.(*goredis.ClusterClient)
	memory := `used_memory:\d+\s+maxmemory:\d+\s+evicted_keys:0\s+`
	s.size = `4 \d{3,}\n` + memory
	given, cluster := take(t, &s.blocks, "Set first"), take(t, &s.blocks, "Set first, on a Cluster")
	given += "HOST=" + host + " PORT=" + port + "\n" + set + "\n"
	if isCluster {
		given += cluster
		s.stale = config.KeyPrefix == ""
		s.size = `4 \d{3,}\n(` + memory + `){3}`
	}
	s.run = func(t *testing.T, b block) string {
		require.Equal(t, "sh", b.lang)
		return shell(t, nil, given+small(b.code))
	}
	s.entries = func() []string {
		prefix := config.KeyPrefix
		if prefix == "" && !config.NoKeyPrefix {
			prefix = "session:"
		}
		ids, err := config.Client.ZRange(context.Background(), prefix+"flamego::session::owner:alice", 0, -1).Result()
		require.NoError(t, err)
		return ids
	}
	apps := appKeys(t, config)
	if len(apps) > 0 { // the database has more than sessions
		s.blocks = slices.DeleteFunc(s.blocks, func(b block) bool { return b.label == "End everything at once" })
	}
	s.test(t)
	require.Equal(t, apps, appKeys(t, config))
}

// appKeys are the keys of the app, which are strings.
func appKeys(t *testing.T, config redis.Config) (keys []string) {
	if !config.NoKeyPrefix {
		return nil
	}
	all, err := config.Client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	for _, key := range all {
		if value, err := config.Client.Get(t.Context(), key).Result(); err == nil && value == "app" {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}
