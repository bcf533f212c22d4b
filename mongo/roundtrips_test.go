package mongo_test

import (
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/counting"
	"github.com/flamego/session/internal/testing/mongowire"
	"github.com/flamego/session/mongo"
)

func countingServer(t testing.TB) *counting.Server {
	config := testConfig(t)
	uri := server(t)
	open := func(config mongo.Config, uri string) session.Options {
		config.Options = options.Client().ApplyURI(uri)
		return session.Options{Initer: mongo.Initer(), Config: config}
	}
	return &counting.Server{
		Addr: host(t, uri),
		Skip: mongowire.IsHeartbeat,
		Open: func(t testing.TB, addr string, encode session.Encoder) session.Options {
			config := config
			config.Encoder = encode
			return open(config, through(t, uri, addr))
		},
		Bad: map[string]func(testing.TB, string) session.Options{
			"password": func(t testing.TB, addr string) session.Options {
				return open(testConfig(t), strings.Replace(through(t, uri, addr), "//", "//canary:canary@", 1))
			},
		},
		Hidden: []string{"canary", uri, "mongodb://"},
	}
}

func TestRoundTrips(t *testing.T) { countingServer(t).RoundTrips(t) }

func TestLeaks(t *testing.T) { countingServer(t).Leaks(t) }

func TestSecrets(t *testing.T) { countingServer(t).Secrets(t) }
