package mongo_test

import (
	"bytes"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/counting"
	"github.com/flamego/session/mongo"
)

func countingServer(t testing.TB) *counting.Server {
	config := testConfig(t)
	u, err := url.Parse(server(t))
	require.NoError(t, err)
	through := func(config mongo.Config, addr string, change func(*url.URL)) session.Options {
		via := *u
		via.Host = addr
		q := via.Query()
		q.Set("directConnection", "true") // and not what a replica set knows of itself
		via.RawQuery = q.Encode()
		change(&via)
		config.Options = options.Client().ApplyURI(via.String())
		return session.Options{Initer: mongo.Initer(), Config: config}
	}
	return &counting.Server{
		Addr: u.Host,
		// What the driver asks by itself: who the server is, and how it is.
		Skip: func(question []byte) bool {
			return bytes.Contains(question, []byte("ismaster\x00")) || bytes.Contains(question, []byte("isMaster\x00")) ||
				bytes.Contains(question, []byte("hello\x00"))
		},
		Open: func(_ testing.TB, addr string, encode session.Encoder) session.Options {
			config := config
			config.Encoder = encode
			return through(config, addr, func(*url.URL) {})
		},
		Bad: map[string]func(testing.TB, string) session.Options{
			"password": func(t testing.TB, addr string) session.Options {
				return through(testConfig(t), addr, func(u *url.URL) { u.User = url.UserPassword("canary", "canary") })
			},
		},
		Hidden: []string{"canary", u.String(), "mongodb://"},
	}
}

func TestRoundTrips(t *testing.T) { countingServer(t).RoundTrips(t) }

func TestLeaks(t *testing.T) { countingServer(t).Leaks(t) }

func TestSecrets(t *testing.T) { countingServer(t).Secrets(t) }
