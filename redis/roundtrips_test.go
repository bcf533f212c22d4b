package redis_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/counting"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/redis"
)

func countingServer(t testing.TB) *counting.Server {
	config := testConfig(t)
	through := func(config redis.Config, addr string) session.Options {
		options := *config.Options
		options.Addr = addr
		config.Options = &options
		return session.Options{Initer: redis.Initer(), Config: config}
	}
	return &counting.Server{
		Addr: config.Options.Addr,
		Open: func(_ testing.TB, addr string, encode session.Encoder) session.Options {
			config := config
			config.Encoder = encode
			return through(config, addr)
		},
		Bad: map[string]func(testing.TB, string) session.Options{
			"password": func(t testing.TB, _ string) session.Options {
				addr := startPrivate(t).Addr
				if err := bare(t, &redis.Options{Addr: addr}).ConfigSet(t.Context(), "requirepass", "secret").Err(); err != nil {
					t.Fatal(err)
				}
				config := testConfig(t)
				config.Options.Password = "canary"
				return through(config, addr)
			},
			"wrong type": func(t testing.TB, addr string) session.Options {
				config := testConfig(t)
				c := bare(t, config.Options)
				if err := c.LPush(t.Context(), config.KeyPrefix+"badbadbadbadbad0", "x").Err(); err != nil {
					t.Fatal(err)
				}
				return through(config, addr)
			},
		},
		Hidden: []string{"canary", "secret", config.Options.Password, config.KeyPrefix},
	}
}

func TestRoundTrips(t *testing.T) { countingServer(t).RoundTrips(t) }

func TestTogether(t *testing.T) { countingServer(t).Together(t) }

func TestSlowLine(t *testing.T) { countingServer(t).SlowLine(t) }

func TestLeaks(t *testing.T) { countingServer(t).Leaks(t) }

func TestSecrets(t *testing.T) { countingServer(t).Secrets(t) }

// What an index of owners costs: nothing more for a commit and an extend, and one for a list.
// Without a hash tag, on a Cluster, it is one more for each, and another one to leave the set
// of a former owner or an old ID.
func TestRoundTripsOfOwners(t *testing.T) {
	t.Parallel()
	single, node := testConfig(t), startCluster(t).Addr
	for name, test := range map[string]struct {
		config                                  redis.Config
		insert, swap, change, rename, list, del int
	}{
		"one server":              {single, 1, 1, 1, 1, 1, 1},
		"no prefix":               {redis.Config{Options: &redis.Options{Addr: startPrivate(t).Addr}, NoKeyPrefix: true}, 1, 1, 1, 1, 1, 1},
		"Cluster with a hash tag": {redis.Config{Options: &redis.Options{Addr: node}, KeyPrefix: "{session}:"}, 1, 1, 1, 1, 1, 1},
		// A renewal without owners: a script that is refused, because it has two slots; then two steps.
		"Cluster": {redis.Config{Options: &redis.Options{Addr: node}}, 1 + 1, 1 + 1, 1 + 2, 3 + 2, 1 + 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := tcpproxy.New(t, test.config.Options.Addr, tcpproxy.Rules{})
			config, options := test.config, *test.config.Options
			config.Options, options.Addr = &options, p.Addr()
			b, ctx := openOwners(t, config), deadline(t, time.Minute)
			count := func(what string, want int, op func() (bool, error)) {
				t.Helper()
				begun := p.Trips()
				ok, err := op()
				require.NoError(t, err, what)
				require.True(t, ok, what)
				if want > 0 {
					require.Equal(t, want, p.Trips()-begun, what)
				}
			}
			list := func(owner string, n int) func() (bool, error) {
				return func() (bool, error) {
					list, err := b.Owned(ctx, owner)
					return len(list) == n, err
				}
			}
			for round := range 3 {
				counts := test
				if round == 0 { // in which the server learns the scripts
					counts.insert, counts.swap, counts.change, counts.rename, counts.list, counts.del = 0, 0, 0, 0, 0, 0
				}
				const n = 5
				for i := range n {
					sid := func(name string) string { return fmt.Sprint(name, round, "x", i) }
					count("commit of a new session", counts.insert, func() (bool, error) {
						return b.Insert(ctx, sid("new"), owned("one", "a", "", time.Hour))
					})
					count("commit", counts.swap, func() (bool, error) {
						return b.Swap(ctx, sid("new"), []byte("one"), owned("two", "a", "a", time.Hour))
					})
					count("extend", counts.swap, func() (bool, error) {
						return b.Swap(ctx, sid("new"), []byte("two"), owned("two", "a", "a", time.Hour))
					})
					count("change of owner", counts.change, func() (bool, error) {
						return b.Swap(ctx, sid("new"), []byte("two"), owned("three", "b", "a", time.Hour))
					})
					count("renewal", counts.rename, func() (bool, error) {
						return b.Rename(ctx, sid("new"), sid("renewed"), []byte("three"), owned("four", "b", "b", time.Hour))
					})
				}
				count("list of nothing", min(counts.list, 1), list("a", 0))
				count("list", counts.list, list("b", n))
				begun := p.Trips()
				for i := range n {
					count("delete", counts.del, func() (bool, error) {
						return true, b.Delete(ctx, fmt.Sprint("renewed", round, "x", i))
					})
				}
				for range 2 {
					count("empty list", counts.list, list("b", 0))
				}
				t.Logf("to end %d sessions: %d round trips after the first list", n, p.Trips()-begun)

				// Sessions of nobody cost what they did.
				count("commit of nobody", 1, func() (bool, error) { return b.Insert(ctx, "none", rec("one", time.Minute)) })
				count("delete", 1, func() (bool, error) { return true, b.Delete(ctx, "none") })
			}
		})
	}
}

// A ClusterClient loads the records of a list in one flight. If the server does not know the
// script, they are loaded one by one.
func TestRoundTripsOfClusterClient(t *testing.T) {
	t.Parallel()
	const n = 50
	p := tcpproxy.New(t, startCluster(t).Addr, tcpproxy.Rules{
		Skip: func(question []byte) bool { return bytes.HasSuffix(question, []byte("\r\ncommand\r\n")) },
	})
	c := cluster(t, p.Addr())
	b, ctx := openOwners(t, redis.Config{Client: c}), deadline(t, time.Minute)
	for i := range n {
		yes(t)(b.Insert(ctx, fmt.Sprint("abc", i), owned("one", "a", "", time.Hour)))
	}
	_, _, err := b.Load(ctx, "abc0") // the server learns the script
	require.NoError(t, err)
	// The client asks for the slots of the Cluster now and then, beside that.
	trips := func() int {
		fewest := 1000
		for range 5 {
			begun := p.Trips()
			require.Len(t, idsOf(t, b, "a"), n)
			fewest = min(fewest, p.Trips()-begun)
		}
		return fewest
	}
	require.Equal(t, 2, trips())
	require.NoError(t, c.ScriptFlush(ctx).Err())
	require.Equal(t, 2, trips())
}

// A store that is not asked for owners sends none of the commands that an index takes.
func TestNoOwnersNoIndex(t *testing.T) {
	t.Parallel()
	config := redis.Config{Options: &redis.Options{Addr: startPrivate(t).Addr}}
	c, ctx := bare(t, config.Options), context.Background()
	commands := func() string {
		b := openBackend(t, config)
		yes := yes(t)
		yes(b.Insert(ctx, "old", rec("one", time.Minute)))
		yes(b.Swap(ctx, "old", []byte("one"), rec("two", time.Minute)))
		yes(b.Rename(ctx, "old", "new", []byte("two"), rec("three", time.Minute)))
		yes(true, b.Extend(ctx, "new", time.Hour))
		yes(true, b.Delete(ctx, "new"))
		return c.Info(ctx, "commandstats").Val()
	}
	stats := commands()
	for _, command := range []string{"set", "get", "pexpire", "del"} {
		require.Contains(t, stats, "cmdstat_"+command+":")
	}
	require.NotRegexp(t, "cmdstat_(z|time)", stats)
	openOwners(t, config)
	require.Regexp(t, "cmdstat_zadd", commands())
}
