package testserver

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
)

// StartRedisCluster starts the masters of a Cluster, each with a part of the slots.
func StartRedisCluster(t testing.TB, masters int) []*RedisServer {
	t.Helper()
	return startMasters(t, masters)
}

// RedisCluster is a Redis Cluster of one test in which each master has a replica.
type RedisCluster struct {
	Masters  []*RedisServer // with the slots in equal parts, in this order
	Replicas []*RedisServer // each of the master with the same index
}

// StartRedisReplicas starts a Cluster in which each master has a replica, which takes its place about
// two seconds after the master has gone. The servers know DEBUG.
func StartRedisReplicas(t testing.TB, masters int) *RedisCluster {
	t.Helper()
	args := []string{
		"--cluster-node-timeout", "1500", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1",
		"--enable-debug-command", "local",
	}
	c := &RedisCluster{Masters: startMasters(t, masters, args...)}
	for _, master := range c.Masters {
		replica := startClusterServer(t, args...)
		replica.meet(t, master)
		c.Replicas = append(c.Replicas, replica)
	}
	for i, replica := range c.Replicas {
		id := c.Masters[i].MustDo(t, "CLUSTER", "MYID")
		replica.await(t, func() bool {
			_, err := replica.Do("CLUSTER", "REPLICATE", id) // an error until it knows the master
			return err == nil
		})
	}
	for _, s := range c.Servers() {
		s.await(t, func() bool {
			nodes, err := s.Do("CLUSTER", "NODES")
			return err == nil && strings.Count(nodes, "master") == masters && strings.Count(nodes, "slave") == masters &&
				s.says("cluster_state:ok", "CLUSTER", "INFO")
		})
	}
	for _, s := range c.Replicas {
		s.await(t, func() bool { return s.says("master_link_status:up", "INFO", "replication") })
	}
	return c
}

// Servers are all of them.
func (c *RedisCluster) Servers() []*RedisServer {
	return append(c.Masters[:len(c.Masters):len(c.Masters)], c.Replicas...)
}

// Addrs are the addresses of all servers.
func (c *RedisCluster) Addrs() []string { return addrs(c.Servers()) }

// Taken reports whether the replica of a master that is down has taken its place, and all servers
// serve all slots.
func (c *RedisCluster) Taken(master int) bool {
	role, err := c.Replicas[master].Do("ROLE")
	if err != nil || !strings.HasPrefix(role, "master") {
		return false
	}
	for i, s := range c.Servers() {
		if i != master && !s.says("cluster_state:ok", "CLUSTER", "INFO") {
			if _, err := s.Do("PING"); err == nil { // else it is down since longer
				return false
			}
		}
	}
	return true
}

func startMasters(t testing.TB, masters int, args ...string) []*RedisServer {
	t.Helper()
	const slots = 1 << 14
	cluster := make([]*RedisServer, masters)
	for i := range cluster {
		s := startClusterServer(t, args...)
		cluster[i] = s
		// Masters with the same epoch would settle some seconds later whose view of the slots counts.
		s.MustDo(t, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		s.MustDo(t, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/masters), strconv.Itoa((i+1)*slots/masters-1))
		if i > 0 {
			s.meet(t, cluster[0])
		}
	}
	for _, s := range cluster {
		s.await(t, func() bool {
			return s.says("cluster_state:ok", "CLUSTER", "INFO") && s.says(fmt.Sprintf("cluster_size:%d\r", masters), "CLUSTER", "INFO")
		})
	}
	return cluster
}

func startClusterServer(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	bus := freePort(t)
	s := StartRedis(t, append([]string{"--cluster-enabled", "yes", "--cluster-port", bus}, args...)...)
	s.bus = bus
	return s
}

// meet makes the server one of the Cluster of another one.
func (s *RedisServer) meet(t testing.TB, other *RedisServer) {
	t.Helper()
	host, port, _ := net.SplitHostPort(other.Addr)
	s.MustDo(t, "CLUSTER", "MEET", host, port, other.bus)
}

// says reports whether a text is in the reply to a command.
func (s *RedisServer) says(text string, command ...string) bool {
	reply, err := s.Do(command...)
	return err == nil && strings.Contains(reply, text)
}

// AwaitReplicas waits until the replicas of a master have all that it has written.
func (s *RedisServer) AwaitReplicas(t testing.TB) {
	t.Helper()
	field := func(info, name string) string {
		_, after, _ := strings.Cut(info, name)
		n := strings.IndexFunc(after, func(r rune) bool { return r < '0' || r > '9' })
		return after[:max(n, 0)]
	}
	want, err := strconv.Atoi(field(s.MustDo(t, "INFO", "replication"), "master_repl_offset:"))
	if err != nil {
		t.Fatal(err)
	}
	s.await(t, func() bool {
		info, err := s.Do("INFO", "replication")
		replicas := 0
		for line := range strings.Lines(info) {
			if strings.HasPrefix(line, "slave") && strings.Contains(line, ",offset=") {
				replicas++
				if has, err := strconv.Atoi(field(line, ",offset=")); err != nil || has < want {
					return false
				}
			}
		}
		return err == nil && replicas > 0
	})
}

func addrs(servers []*RedisServer) []string {
	all := make([]string, len(servers))
	for i, s := range servers {
		all[i] = s.Addr
	}
	return all
}
