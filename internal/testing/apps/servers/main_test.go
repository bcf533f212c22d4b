// Package servers has the apps that need a server.
package servers

import (
	"testing"

	redisdriver "github.com/go-redis/redis/v8"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/apps"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/mongo"
	"github.com/flamego/session/mysql"
	"github.com/flamego/session/postgres"
	"github.com/flamego/session/redis"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// One app of each kind that needs a server.
func TestApps(t *testing.T) {
	for name, options := range map[string]func(t *testing.T) session.Options{
		"postgres": func(t *testing.T) session.Options {
			return session.Options{
				Initer: postgres.Initer(),
				Config: postgres.Config{DSN: testserver.Postgres(t), Table: "app", InitTable: true},
			}
		},
		"mysql": func(t *testing.T) session.Options {
			return session.Options{
				Initer: mysql.Initer(),
				Config: mysql.Config{DSN: testserver.MySQL(t), Table: "app", InitTable: true},
			}
		},
		"redis": func(t *testing.T) session.Options {
			return session.Options{
				Initer: redis.Initer(),
				Config: redis.Config{Options: redisOptions(t), KeyPrefix: "app:"},
			}
		},
		"redis, client of the app": func(t *testing.T) session.Options {
			client := redisdriver.NewClient(redisOptions(t))
			t.Cleanup(func() { _ = client.Close() })
			return session.Options{
				Initer: redis.Initer(),
				Config: redis.Config{Client: client},
			}
		},
		"mongo": func(t *testing.T) session.Options {
			return session.Options{
				Initer: mongo.Initer(),
				Config: mongo.Config{
					Options:    options.Client().ApplyURI(testserver.Mongo(t)),
					Database:   "apps",
					Collection: "app",
				},
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			apps.Visit(t, apps.New(options(t)))
		})
	}
}

func redisOptions(t testing.TB) *redis.Options {
	return &redis.Options{Addr: testserver.Redis(t), Password: testserver.RedisPassword(), DB: 15}
}
