// Command after is the same app on this library, by the diff in docs/migrating.md.
package main

import (
	"github.com/flamego/flamego"
	"github.com/flamego/session"
	"github.com/flamego/session/redis/anyclient"
	goredis "github.com/redis/go-redis/v9"
)

func main() {
	f := flamego.Classic()
	f.Use(session.Sessioner(session.Options{
		Initer: anyclient.Initer(),
		Config: anyclient.Config{Eval: anyclient.GoRedis(goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:6379", Protocol: 2, MaxRetries: -1}))},
	}))
	f.Get("/", func(s session.Session) string {
		n, _ := s.Get("n").(int)
		s.Set("n", n+1)
		return "hello"
	})
	f.Run()
}
