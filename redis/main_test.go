package redis_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis"
)

func TestMain(m *testing.M) { testserver.Main(m) }

var prefixes atomic.Int64

// testConfig is for a prefix of its own on the shared server.
func testConfig(t testing.TB) redis.Config {
	return redis.Config{
		Options:   &redis.Options{Addr: testserver.Redis(t), Password: testserver.RedisPassword()},
		KeyPrefix: fmt.Sprintf("%s:%d:%d:", t.Name(), time.Now().UnixNano(), prefixes.Add(1)),
	}
}

// bare is the driver alone, to look at what is really there.
func bare(t testing.TB, opts *redis.Options) *goredis.Client {
	clone := *opts
	c := goredis.NewClient(&clone)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func openBackend(t testing.TB, config redis.Config) session.Backend {
	t.Helper()
	b, _, err := redis.Open(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.(io.Closer).Close()) })
	return b
}

func openStore(t testing.TB, config redis.Config) session.Store {
	t.Helper()
	s, err := redis.Initer()(context.Background(), config, session.IDWriter(noID))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.(io.Closer).Close()) })
	return s
}

func noID(http.ResponseWriter, *http.Request, string) {}

func rec(data string, ttl time.Duration) session.Record {
	return session.Record{Data: []byte(data), TTL: ttl}
}

// deadline is a context with time for anything that does not hang.
func deadline(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// private is a server that a test may kill.
type private struct {
	addr string
	args []string
	cmd  *exec.Cmd
	pipe io.Closer
}

func startPrivate(t testing.TB, args ...string) *private {
	t.Helper()
	testserver.Redis(t) // skips or fails where there is none
	path, err := exec.LookPath("redis-server")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal("no redis-server to start: ", err)
	}
	if err != nil { // REDIS_HOST names a server, which no test may stop
		t.Skip("no redis-server to start, apt-get install redis-server: ", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	host, port, _ := net.SplitHostPort(l.Addr().String())
	p := &private{addr: l.Addr().String()}
	p.args = append([]string{
		path, "--bind", host, "--port", port, "--dir", t.TempDir(), "--save", "", "--appendonly", "no",
	}, args...)
	p.start(t)
	t.Cleanup(p.kill)
	return p
}

func (p *private) start(t testing.TB) {
	t.Helper()
	// The shell ends the server when the pipe closes, so also when we panic.
	p.cmd = exec.Command("sh", append([]string{"-c", `"$@" & read _; kill -9 $!; wait`, "sh"}, p.args...)...)
	var err error
	p.pipe, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	require.Eventually(t, func() bool {
		c := goredis.NewClient(&redis.Options{Addr: p.addr, MaxRetries: -1})
		defer c.Close()
		return c.Ping(context.Background()).Err() == nil
	}, 10*time.Second, 10*time.Millisecond)
}

func (p *private) kill() {
	_ = p.pipe.Close()
	_ = p.cmd.Wait()
}

// within is the error of a call that must end in time.
func within(t testing.TB, limit time.Duration, call func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		t.Fatalf("not at its end after %v", limit)
		return nil
	}
}

// proxy passes everything on, unless a test says otherwise.
type proxy struct {
	addr    string
	lose    atomic.Bool  // cut the connection in place of the next answer
	mute    atomic.Bool  // pass on no answer at all
	muted   atomic.Int64 // how many that were
	hang    atomic.Bool  // accept connections, but read nothing
	instead chan string  // what the next answers are

	line      sync.Mutex   // which all answers go through
	perSecond atomic.Int64 // how many bytes of them, if not 0
	conns     sync.Map     // net.Conn, of both sides
}

func startProxy(t testing.TB, server string) *proxy {
	return startProxyWith(t, server, func(client net.Conn) net.Conn { return client })
}

// startTLSProxy speaks TLS with the client, by whose settings it is trusted.
func startTLSProxy(t testing.TB, server string) (*proxy, *tls.Config) {
	s := httptest.NewTLSServer(nil)
	t.Cleanup(s.Close)
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AddCert(s.Certificate())
	return startProxyWith(t, server, func(client net.Conn) net.Conn {
		return tls.Server(client, &tls.Config{Certificates: s.TLS.Certificates})
	}), config
}

func startProxyWith(t testing.TB, server string, wrap func(net.Conn) net.Conn) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{addr: l.Addr().String(), instead: make(chan string, 10)}
	var wg sync.WaitGroup
	end := make(chan struct{})
	t.Cleanup(func() {
		close(end)
		_ = l.Close()
		p.reset()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.conns.Store(conn, nil)
			if p.hang.Load() {
				continue
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = conn.Close()
				continue
			}
			p.conns.Store(upstream, nil)
			client := wrap(conn)
			wg.Go(func() { p.questions(client, upstream, end); _ = upstream.Close() })
			wg.Go(func() { p.answers(client, upstream); _ = conn.Close() })
		}
	})
	return p
}

func (p *proxy) questions(client, upstream net.Conn, end chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if p.hang.Load() {
			<-end
			return
		}
		if _, err := upstream.Write(buf[:n]); err != nil {
			return
		}
	}
}

// reset breaks all connections without a goodbye.
func (p *proxy) reset() {
	p.conns.Range(func(c, _ any) bool {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.(*net.TCPConn).Close()
		return true
	})
	p.conns.Clear()
}

func (p *proxy) answers(client, upstream net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := upstream.Read(buf)
		if err != nil || p.lose.CompareAndSwap(true, false) {
			return
		}
		if p.mute.Load() {
			p.muted.Add(1)
			continue
		}
		answer := buf[:n]
		select {
		case other := <-p.instead:
			answer = []byte(other)
		default:
		}
		if rate := p.perSecond.Load(); rate > 0 {
			p.line.Lock()
			time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
			p.line.Unlock()
		}
		if _, err := client.Write(answer); err != nil {
			return
		}
	}
}
