// Command options hands the Options of go-redis 9 to the sessions.
package main

import (
	"github.com/flamego/flamego"
	goredis "github.com/redis/go-redis/v9"

	"github.com/flamego/session"
	"github.com/flamego/session/redis"
)

func main() {
	f := flamego.Classic()
	f.Use(session.Sessioner(session.Options{
		Initer: redis.Initer(),
		Config: redis.Config{Options: &goredis.Options{Addr: "127.0.0.1:6379"}},
	}))
	f.Run()
}
