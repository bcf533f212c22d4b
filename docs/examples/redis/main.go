// Command redis keeps sessions in Redis.
package main

import (
	"cmp"
	"fmt"
	"os"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/redis"
)

func main() {
	addr := cmp.Or(os.Getenv("REDIS_ADDR"), "127.0.0.1:6379")

	f := flamego.Classic()
	f.Use(session.Sessioner(session.Options{
		Initer: redis.Initer(),
		Config: redis.Config{
			Options: &redis.Options{
				Addr:     addr,
				Password: os.Getenv("REDIS_PASSWORD"), // usually none
			},
		},
	}))

	f.Get("/", func() string {
		return `<a href="/set">Set</a> <a href="/get">Get</a> <a href="/clear">Clear</a>`
	})
	f.Get("/set", func(s session.Session) string {
		s.Set("user_id", 123)
		return "Succeed"
	})
	f.Get("/get", func(s session.Session) string {
		userID, ok := session.Value[int](s, "user_id")
		if !ok {
			return "Not authenticated"
		}
		return fmt.Sprintf("Authenticated as %d", userID)
	})
	f.Get("/clear", func(s session.Session) string {
		s.Delete("user_id")
		return "Cleared"
	})
	f.Run()
}
