// Command fields sets what go-redis 9 has given another name, and what is new there.
package main

import (
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/redis"
)

func main() {
	f := flamego.Classic()
	f.Use(session.Sessioner(session.Options{
		Initer: redis.Initer(),
		Config: redis.Config{Options: &redis.Options{
			Addr:            "127.0.0.1:6379",
			ConnMaxIdleTime: time.Minute,
			Protocol:        2,
		}},
	}))
	f.Run()
}
