package liveness_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/flamego/session/internal/liveness"
)

// server answers each byte with itself, but for those that are held back.
type server struct {
	*testing.T
	net.Listener
	conns liveness.Conns

	mu   sync.Mutex
	mute map[string]bool // clients that get no answers
	got  map[string]int  // how many bytes the server has from each client
	at   map[string]net.Conn
}

func start(t *testing.T) *server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{T: t, Listener: l, mute: make(map[string]bool), got: make(map[string]int), at: make(map[string]net.Conn)}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			name := c.RemoteAddr().String()
			s.mu.Lock()
			s.at[name] = c
			s.mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				for buf := make([]byte, 1); ; {
					if _, err := c.Read(buf); err != nil {
						return
					}
					s.mu.Lock()
					s.got[name]++
					mute := s.mute[name]
					s.mu.Unlock()
					if !mute {
						_, _ = c.Write(buf)
					}
				}
			})
		}
	})
	return s
}

func (s *server) dial() net.Conn {
	s.Helper()
	c, err := s.conns.Dialer(new(net.Dialer).DialContext)(s.Context(), "tcp", s.Addr().String())
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *server) silence(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute[c.LocalAddr().String()] = true
}

// ask asks a question, which may wait for its answer that long.
func (s *server) ask(c net.Conn, patience time.Duration) error {
	begun := time.Now()
	if err := liveness.Of(c).SetAttempt(begun.Add(patience), begun.Add(time.Minute)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("?")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func (s *server) want(c net.Conn, is bool, what string) {
	s.Helper()
	if liveness.Of(c).IsDropped() == is {
		s.Errorf("%s: the connection is dropped: %t", what, is)
	}
}

// A question without an answer costs the trust in all that were idle as long.
func TestSilence(t *testing.T) {
	t.Parallel()
	s := start(t)
	dead, old, busy := s.dial(), s.dial(), s.dial()
	for _, c := range []net.Conn{dead, old, busy} {
		if err := s.ask(c, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	s.silence(dead)
	s.silence(busy)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.ask(busy, 10*time.Second); err == nil {
			t.Error("a mute server has answered")
		}
	})
	time.Sleep(10 * time.Millisecond) // it has asked first
	asked := make(chan error, 1)
	go func() { asked <- s.ask(dead, 600*time.Millisecond) }()
	time.Sleep(100 * time.Millisecond)
	fresh, proved := s.dial(), s.dial()
	if err := s.ask(proved, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := <-asked; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
	s.want(old, false, "idle while the question waited")
	s.want(fresh, true, "made meanwhile")
	s.want(proved, true, "heard meanwhile")
	s.want(busy, true, "waits for an answer itself")

	before := s.bytesOf(old)
	var op *net.OpError
	if err := s.ask(old, time.Second); !errors.As(err, &op) || !errors.Is(err, net.ErrClosed) {
		t.Errorf("a dropped connection: %v", err)
	}
	if n := s.bytesOf(old); n != before {
		t.Error("something was sent on a dropped connection")
	}
	_ = busy.Close()
	wg.Wait()
}

func (s *server) bytesOf(c net.Conn) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got[c.LocalAddr().String()]
}

// What is no sign of death: little patience, an answer that is under way, a driver that
// looks whether the server has hung up.
func TestNoSilence(t *testing.T) {
	t.Parallel()
	for name, timeOut := range map[string]func(*server, net.Conn) error{
		"little patience": func(s *server, c net.Conn) error {
			s.silence(c)
			return s.ask(c, 100*time.Millisecond)
		},
		"slow answer": func(s *server, c net.Conn) error {
			if err := s.ask(c, 10*time.Second); err != nil {
				return err
			}
			_ = c.SetReadDeadline(time.Now().Add(600 * time.Millisecond))
			_, err := c.Read(make([]byte, 1)) // the rest of the answer
			return err
		},
		"no question": func(_ *server, c net.Conn) error {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := c.Read(make([]byte, 1))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			idle, c := s.dial(), s.dial()
			if err := timeOut(s, c); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("the error is %v", err)
			}
			s.want(idle, true, name)
		})
	}
}

// A server that answers when it is told to stop is alive.
func TestOnSilence(t *testing.T) {
	t.Parallel()
	for _, answers := range []bool{true, false} {
		s := start(t)
		idle, c := s.dial(), s.dial()
		s.silence(c)
		called := 0
		liveness.Of(c).OnSilence = func(time.Duration) {
			called++
			if answers {
				s.mu.Lock()
				defer s.mu.Unlock()
				_, _ = s.at[c.LocalAddr().String()].Write([]byte("!"))
			}
		}
		if err := s.ask(c, 600*time.Millisecond); (err == nil) != answers {
			t.Errorf("answers: %t, error: %v", answers, err)
		}
		if called != 1 {
			t.Errorf("OnSilence was called %d times", called)
		}
		s.want(idle, answers, "OnSilence")
	}
}

// A server that answers another question is alive.
func TestAlive(t *testing.T) {
	t.Parallel()
	for _, alive := range []bool{true, false} {
		s := start(t)
		asked := 0
		s.conns.Alive = func() bool { asked++; return alive }
		idle, c := s.dial(), s.dial()
		s.silence(c)
		if err := s.ask(c, 100*time.Millisecond); err == nil || asked != 0 {
			t.Errorf("error %v, asked %d times after little patience", err, asked)
		}
		c = s.dial()
		s.silence(c)
		if err := s.ask(c, 600*time.Millisecond); err == nil || asked != 1 {
			t.Errorf("error %v, asked %d times", err, asked)
		}
		s.want(idle, alive, "another question")
	}
}

// An operation that has no time left does not ask.
func TestOnSilenceAtTheEnd(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.dial()
	s.silence(c)
	liveness.Of(c).OnSilence = func(time.Duration) { t.Error("called at the end of the operation") }
	end := time.Now().Add(600 * time.Millisecond)
	_ = liveness.Of(c).SetAttempt(end, end)
	_, _ = c.Write([]byte("?"))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

func TestDropIdle(t *testing.T) {
	t.Parallel()
	s := start(t)
	idle, busy := s.dial(), s.dial()
	s.silence(busy)
	if _, err := busy.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	s.conns.DropIdle()
	s.want(idle, false, "idle")
	s.want(busy, true, "busy")
}

// Many write while the pool is dropped, time and again: what was sent is answered, and
// what was not sent says so.
func TestDropWhileInUse(t *testing.T) {
	t.Parallel()
	s := start(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c, sent := s.dial(), 0
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch err := s.ask(c, 10*time.Second); {
				case err == nil:
					sent++
				case errors.Is(err, net.ErrClosed) && liveness.Of(c).IsDropped():
					if n := s.bytesOf(c); n != sent {
						t.Errorf("the server has %d questions of %d", n, sent)
					}
					c, sent = s.dial(), 0
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	for range 200 {
		time.Sleep(time.Millisecond)
		s.conns.DropIdle()
	}
	close(stop)
	wg.Wait()
}

func TestOf(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.dial()
	if liveness.Of(tls.Client(c, &tls.Config{MinVersion: tls.VersionTLS12})) != liveness.Of(c) || liveness.Of(c) == nil {
		t.Error("the connection below TLS is not found")
	}
	if raw, err := c.(syscall.Conn).SyscallConn(); err != nil || raw == nil {
		t.Error("a connection of TCP has lost its file descriptor")
	}
	a, b := net.Pipe()
	defer b.Close()
	piped, err := s.conns.Dialer(func(context.Context, string, string) (net.Conn, error) { return a, nil })(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer piped.Close()
	if _, ok := piped.(syscall.Conn); ok {
		t.Error("a connection without a file descriptor promises one")
	}
	if liveness.Of(piped) == nil || liveness.Of(a) != nil {
		t.Error("Of finds what is not watched, or not what is")
	}
}

func TestAttempt(t *testing.T) {
	t.Parallel()
	if _, ok := liveness.Attempt(t.Context()); ok {
		t.Error("no deadline, but an attempt has one")
	}
	for left, want := range map[time.Duration]time.Duration{
		time.Second: time.Second, 5 * time.Second: 2 * time.Second, time.Minute: 15 * time.Second,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), left)
		defer cancel()
		end, _ := liveness.Attempt(ctx)
		if got := time.Until(end); got > want || got < want-500*time.Millisecond {
			t.Errorf("of %v an attempt has %v, want %v", left, got, want)
		}
	}
}
