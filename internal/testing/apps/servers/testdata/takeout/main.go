// Command takeout takes the client out of a Config again.
package main

import (
	redisdriver "github.com/go-redis/redis/v8"

	"github.com/flamego/session/redis"
)

func main() {
	config := redis.Config{Client: redisdriver.NewClient(&redis.Options{Addr: "127.0.0.1:6379"})}
	var client *redisdriver.Client = config.Client
	_ = client
}
