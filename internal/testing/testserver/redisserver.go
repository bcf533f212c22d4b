package testserver

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// RedisServer is a Redis server of one test, which the test may kill and start again.
type RedisServer struct {
	Addr string

	bus  string // the port for the other servers of a Cluster
	args []string
	cmd  *exec.Cmd
	pipe io.Closer
}

// StartRedis starts a server with more arguments of redis-server. It ends with the test.
func StartRedis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	Redis(t) // skips or fails where there is none
	path, err := redis.find()
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal("no redis-server to start: ", err)
	}
	if err != nil { // REDIS_HOST names a server, which no test may stop
		t.Skip("no redis-server to start, apt-get install redis-server: ", err)
	}
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	s := &RedisServer{Addr: net.JoinHostPort(loopback, port)}
	s.args = append([]string{
		path, "--bind", loopback, "--port", port, "--dir", t.TempDir(), "--save", "", "--appendonly", "no",
	}, args...)
	t.Cleanup(s.Kill)
	s.Start(t)
	return s
}

// StartRedisCluster starts the masters of a Cluster, each with a part of the slots.
func StartRedisCluster(t testing.TB, masters int) []*RedisServer {
	t.Helper()
	const slots = 1 << 14
	cluster := make([]*RedisServer, masters)
	for i := range cluster {
		bus, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		s := StartRedis(t, "--cluster-enabled", "yes", "--cluster-port", bus)
		s.bus, cluster[i] = bus, s
		s.MustDo(t, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/masters), strconv.Itoa((i+1)*slots/masters-1))
		host, port, _ := net.SplitHostPort(cluster[0].Addr)
		if i > 0 {
			s.MustDo(t, "CLUSTER", "MEET", host, port, cluster[0].bus)
		}
	}
	for _, s := range cluster {
		s.await(t, func() bool {
			info, err := s.Do("CLUSTER", "INFO")
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_size:%d\r", masters))
		})
	}
	return cluster
}

// Start starts the server again after Kill, at the same address and with no data.
func (s *RedisServer) Start(t testing.TB) {
	t.Helper()
	// The shell ends the server when the pipe closes, so also when we panic.
	s.cmd = exec.Command("sh", append([]string{"-c", `"$@" & read _; kill -9 $!; wait`, "sh"}, s.args...)...)
	var err error
	if s.pipe, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err = s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.await(t, func() bool {
		_, err := s.Do("PING")
		return err == nil || strings.HasPrefix(err.Error(), "NOAUTH")
	})
}

// Kill ends the server without a goodbye.
func (s *RedisServer) Kill() {
	if s.pipe != nil {
		_ = s.pipe.Close()
		_ = s.cmd.Wait()
	}
}

// Do sends a command on a connection of its own, and returns the reply if it is a text or
// a number. An error of the server is an error with its text.
func (s *RedisServer) Do(args ...string) (string, error) {
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(conn, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(conn, "$%d\r\n%s\r\n", len(arg), arg)
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(line[1:])
	switch line[0] {
	case '-':
		return "", fmt.Errorf("%s", text)
	case '$':
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return "", err
		}
		body := make([]byte, n)
		_, err = io.ReadFull(r, body)
		return string(body), err
	default:
		return text, nil
	}
}

// MustDo is Do for a command that succeeds.
func (s *RedisServer) MustDo(t testing.TB, args ...string) string {
	t.Helper()
	reply, err := s.Do(args...)
	if err != nil {
		t.Fatalf("%s: %v", args[0], err)
	}
	return reply
}

func (s *RedisServer) await(t testing.TB, ready func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ready() {
			return
		}
	}
	t.Fatalf("redis-server with %q is not ready after 20 seconds", s.args[1:])
}
