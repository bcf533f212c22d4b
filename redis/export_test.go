package redis

import (
	"context"

	"github.com/go-redis/redis/v8"

	"github.com/flamego/session"
)

// Open makes the backend of a Config, for tests of its operations.
var Open = open

// ParseSlots reads a reply to CLUSTER SLOTS.
var ParseSlots = parseSlots

// Conns is how many connections there are.
func Conns(b session.Backend) int {
	return int(b.(*backend).client.PoolStats().TotalConns)
}

// FillPool makes as many connections as there may be.
func FillPool(ctx context.Context, b session.Backend) error {
	client := b.(*backend).client.(*redis.Client)
	for range client.Options().PoolSize {
		conn := client.Conn(ctx)
		defer conn.Close()
		if err := conn.Ping(ctx).Err(); err != nil {
			return err
		}
	}
	return nil
}

// ClientOptions are those of the client that a store has made.
func ClientOptions(b session.Backend) *redis.Options {
	return b.(*backend).client.(*redis.Client).Options()
}
