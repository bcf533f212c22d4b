// Command before is an app on the newest version of the existing library. It is not
// compiled, as that version has the same name as this one.
package main

import (
	"github.com/flamego/flamego"
	"github.com/flamego/session"
	"github.com/flamego/session/redis"
)

func main() {
	f := flamego.Classic()
	f.Use(session.Sessioner(session.Options{
		Initer: redis.Initer(),
		Config: redis.Config{Options: &redis.Options{Addr: "127.0.0.1:6379", Protocol: 2}},
	}))
	f.Get("/", func(s session.Session) string {
		n, _ := s.Get("n").(int)
		s.Set("n", n+1)
		return "hello"
	})
	f.Run()
}
