package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/go-redis/redis/v8"
)

// ClusterSlots returns a function for the field of that name in the ClusterOptions of go-redis 8,
// which does not understand how Redis 7 tells the slots by itself. The function asks the servers
// at the addresses, and those that the last answer named, until one of them answers. It dials for
// each question; there is one at start, one every 10 seconds, and up to five in a second while
// slots move. The options say how to log in.
//
//	addrs := []string{"10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:6379"}
//	client := goredis.NewClusterClient(&goredis.ClusterOptions{
//		Addrs:        addrs,
//		ClusterSlots: redis.ClusterSlots(redis.Options{}, addrs...),
//	})
//
// The function returns the error of the first server when none has answered with the slots.
func ClusterSlots(opts Options, addrs ...string) func(context.Context) ([]redis.ClusterSlot, error) {
	opts.PoolSize, opts.MinIdleConns, opts.MaxRetries, opts.IdleCheckFrequency = 1, 0, -1, -1
	if opts.DialTimeout == 0 {
		opts.DialTimeout = time.Second
	}
	if opts.ReadTimeout == 0 {
		opts.ReadTimeout = time.Second
	}
	var mu sync.Mutex
	var named []string
	return func(ctx context.Context) ([]redis.ClusterSlot, error) {
		mu.Lock()
		all := slices.Concat(addrs, named)
		mu.Unlock()
		slices.Sort(all)
		all = slices.Compact(all)
		// A server that the others do not reach would go on with what it knows: so it is not
		// always the same one.
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		first := errors.New("no address of the Cluster")
		for i, addr := range all {
			slots, err := askSlots(ctx, opts, addr)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				named = named[:0]
				for _, slot := range slots {
					for _, node := range slot.Nodes {
						named = append(named, node.Addr)
					}
				}
				return slots, nil
			}
			if i == 0 {
				first = err
			}
		}
		return nil, first
	}
}

func askSlots(ctx context.Context, opts Options, addr string) ([]redis.ClusterSlot, error) {
	opts.Addr = addr
	client := redis.NewClient(&opts)
	defer func() { _ = client.Close() }()
	reply, err := client.Do(ctx, "cluster", "slots").Result()
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	return parseSlots(reply, host)
}

var errSlots = errors.New("the reply to CLUSTER SLOTS is of another form")

// parseSlots reads the reply to CLUSTER SLOTS: for each range of slots the first and the last one,
// and the servers, the master first. A server that does not know the host by which it is reached
// leaves it out: it is that of the question.
func parseSlots(reply interface{}, host string) ([]redis.ClusterSlot, error) {
	ranges, ok := reply.([]interface{})
	if !ok || len(ranges) == 0 { // empty before the server is in a Cluster
		return nil, errSlots
	}
	slots := make([]redis.ClusterSlot, len(ranges))
	for i := range ranges {
		parts, ok := ranges[i].([]interface{})
		if !ok || len(parts) < 3 {
			return nil, errSlots
		}
		start, isStart := parts[0].(int64)
		end, isEnd := parts[1].(int64)
		if !isStart || !isEnd {
			return nil, errSlots
		}
		slots[i] = redis.ClusterSlot{Start: int(start), End: int(end)}
		for _, part := range parts[2:] {
			node, ok := part.([]interface{})
			if !ok || len(node) < 2 {
				return nil, errSlots
			}
			at, _ := node[0].(string)
			if at == "" || at == "?" {
				at = host
			}
			slots[i].Nodes = append(slots[i].Nodes, redis.ClusterNode{Addr: net.JoinHostPort(at, fmt.Sprint(node[1]))})
		}
	}
	return slots, nil
}
