// Command redis keeps sessions in database 15 of a Redis server, by default of
// the one that "make servers" starts.
package main

import (
	"net"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/app"
	"github.com/flamego/session/redis"
)

func main() {
	app.Run(session.New(session.Options{
		Initer: redis.Initer(),
		Config: redis.Config{
			Options: &redis.Options{
				Addr:     net.JoinHostPort(app.Env("REDIS_HOST", "127.0.0.1"), app.Env("REDIS_PORT", "63791")),
				Password: app.Env("REDIS_PASSWORD", ""),
				DB:       15,
			},
		},
	}))
}
