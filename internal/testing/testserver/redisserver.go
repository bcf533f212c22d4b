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

	bus  string // the port for the other servers of its Cluster
	dir  string // where it writes its log
	args []string
	cmd  *exec.Cmd
	pipe io.Closer
}

// StartRedis starts a server with more arguments of redis-server. It ends with the test.
func StartRedis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	program, port, dir := redisProgram(t), freePort(t), t.TempDir()
	return startRedis(t, port, dir, append([]string{
		program, "--bind", loopback, "--port", port, "--dir", dir, "--logfile", logPath(dir), "--save", "", "--appendonly", "no",
	}, args...))
}

// redisProgram finds redis-server, or skips or fails the test.
func redisProgram(t testing.TB) string {
	t.Helper()
	program, err := redis.find()
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal("no redis-server to start: ", err)
	}
	if err != nil { // REDIS_HOST names a server, which no test may stop
		t.Skip("no redis-server to start, apt-get install redis-server: ", err)
	}
	return program
}

func freePort(t testing.TB) string {
	t.Helper()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// startRedis runs a program and its arguments, which listens on the port and logs in the folder.
func startRedis(t testing.TB, port, dir string, args []string) *RedisServer {
	t.Helper()
	s := &RedisServer{Addr: net.JoinHostPort(loopback, port), dir: dir, args: args}
	t.Cleanup(s.Kill)
	s.Start(t)
	return s
}

// Start starts the server again after Kill, at the same address and with no data.
func (s *RedisServer) Start(t testing.TB) {
	t.Helper()
	// The shell ends the server when the pipe closes, so also when we panic.
	s.cmd = exec.Command("sh", append([]string{"-c", `"$@" & read _; kill -9 $!; wait`, "sh"}, s.args...)...)
	s.cmd.SysProcAttr = detached() // Ctrl-C is for who has started it
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

// Do sends a command on a connection of its own, and returns the reply if it is a text, a number,
// or a list of such, which is a text with a line for each. An error of the server is an error with
// its text.
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
	return readReply(bufio.NewReader(conn))
}

func readReply(r *bufio.Reader) (string, error) {
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
		body := make([]byte, n+len("\r\n"))
		_, err = io.ReadFull(r, body)
		return string(body[:n]), err
	case '*':
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return "", err
		}
		lines := make([]string, n)
		for i := range lines {
			if lines[i], err = readReply(r); err != nil {
				return "", err
			}
		}
		return strings.Join(lines, "\n"), nil
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
	log, _ := os.ReadFile(logPath(s.dir))
	t.Fatalf("redis-server with %q is not ready after 20 seconds\n%s", s.args[1:], tail(log))
}
