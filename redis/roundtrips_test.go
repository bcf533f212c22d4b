package redis_test

import (
	"testing"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/counting"
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
