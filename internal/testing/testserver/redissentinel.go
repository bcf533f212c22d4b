package testserver

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// SentinelName is how the Sentinels of tests call their master.
const SentinelName = "sessions"

// RedisSentinel is a master and its replicas, of one test, with three Sentinels.
type RedisSentinel struct {
	Master    *RedisServer // at the start
	Replicas  []*RedisServer
	Sentinels []*RedisServer
}

// StartRedisSentinel starts a master, its replicas, and three Sentinels, which make a replica the
// master about two seconds after the master has gone.
func StartRedisSentinel(t testing.TB, replicas int) *RedisSentinel {
	t.Helper()
	args := []string{"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", "--enable-debug-command", "local"}
	s := &RedisSentinel{Master: StartRedis(t, args...)}
	host, port, _ := net.SplitHostPort(s.Master.Addr)
	for range replicas {
		replica := StartRedis(t, append([]string{"--replicaof", host + " " + port}, args...)...)
		replica.await(t, func() bool { return replica.says("master_link_status:up", "INFO", "replication") })
		s.Replicas = append(s.Replicas, replica)
	}
	for range 3 {
		s.Sentinels = append(s.Sentinels, startSentinel(t, host, port))
	}
	for _, sentinel := range s.Sentinels {
		sentinel.await(t, func() bool {
			return sentinel.says(fmt.Sprintf("slaves=%d,sentinels=3", replicas), "INFO", "sentinel")
		})
	}
	return s
}

func startSentinel(t testing.TB, host, port string) *RedisServer {
	t.Helper()
	program, own, dir := redisProgram(t), freePort(t), t.TempDir()
	config := strings.Join([]string{
		"port " + own,
		"bind " + loopback,
		"dir " + dir,
		"logfile " + logPath(dir),
		"sentinel monitor " + SentinelName + " " + host + " " + port + " 2",
		"sentinel down-after-milliseconds " + SentinelName + " 1000",
		"sentinel failover-timeout " + SentinelName + " 5000",
	}, "\n")
	path := filepath.Join(dir, "sentinel.conf") // the Sentinel writes to it what it has found out
	if err := os.WriteFile(path, []byte(config+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return startRedis(t, own, dir, []string{program, path, "--sentinel"})
}

// Addrs are the addresses of the Sentinels.
func (s *RedisSentinel) Addrs() []string { return addrs(s.Sentinels) }

// Now returns the server that is the master by what most Sentinels say, or nil.
func (s *RedisSentinel) Now() *RedisServer {
	votes := make(map[string]int)
	for _, sentinel := range s.Sentinels {
		reply, err := sentinel.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SentinelName)
		if host, port, ok := strings.Cut(reply, "\n"); err == nil && ok {
			votes[net.JoinHostPort(host, port)]++
		}
	}
	for _, server := range append([]*RedisServer{s.Master}, s.Replicas...) {
		if votes[server.Addr] > len(s.Sentinels)/2 {
			return server
		}
	}
	return nil
}
