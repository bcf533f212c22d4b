package tcpproxy_test

import (
	"bufio"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/testing/tcpproxy"
)

// echo starts a server that answers each line with itself.
func echo(t *testing.T) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	return l.Addr().String()
}

// client is a connection that talks in lines.
type client struct {
	*testing.T
	net.Conn
	answers *bufio.Reader
}

func dial(t *testing.T, p *tcpproxy.Proxy) client {
	c, err := net.Dial("tcp", p.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return client{t, c, bufio.NewReader(c)}
}

func (c client) ask(text string) {
	_, err := io.WriteString(c, text+"\n")
	require.NoError(c, err)
}

func (c client) hears(text string) {
	c.Helper()
	require.NoError(c, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	got, err := c.answers.ReadString('\n')
	require.NoError(c, err)
	require.Equal(c, text+"\n", got)
}

func (c client) hearsNothing() {
	c.Helper()
	require.NoError(c, c.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := c.answers.ReadByte()
	require.ErrorContains(c, err, "timeout")
}

func (c client) isCut() {
	c.Helper()
	require.NoError(c, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err := c.answers.ReadByte()
	require.Error(c, err)
	require.NotContains(c, err.Error(), "timeout")
}

func TestModes(t *testing.T) {
	p := tcpproxy.New(t, echo(t), tcpproxy.Rules{Skip: func(q []byte) bool { return string(q) == "heartbeat\n" }})
	c := dial(t, p)
	c.ask("one")
	c.hears("one")
	c.ask("heartbeat")
	c.hears("heartbeat")
	require.Equal(t, 1, p.Trips())

	p.Set(tcpproxy.Mute)
	c.ask("two")
	c.hearsNothing()
	require.Equal(t, 2, p.Trips(), "the server has heard it")

	p.Set(tcpproxy.Freeze)
	c.ask("three")
	c.hearsNothing()
	require.Equal(t, 2, p.Trips())
	p.Set(tcpproxy.Pass)
	c.hears("three")

	p.Set(tcpproxy.Hang)
	c.ask("four")
	c.hearsNothing()
	made := dial(t, p)
	made.ask("five")
	made.hearsNothing()
	p.Set(tcpproxy.Pass)
	c.hearsNothing()
	made.hearsNothing()
	later := dial(t, p)
	later.ask("six")
	later.hears("six")
	require.Equal(t, 4, p.Trips())
	require.Equal(t, 3, p.Conns())
}

func TestEvents(t *testing.T) {
	p := tcpproxy.New(t, echo(t), tcpproxy.Rules{})
	for name, end := range map[string]func(){"cut": p.Cut, "reset": p.Reset, "stop": p.Stop} {
		c := dial(t, p)
		c.ask(name)
		c.hears(name)
		end()
		c.isCut()
		if name == "stop" {
			_, err := net.Dial("tcp", p.Addr())
			require.ErrorContains(t, err, "refused")
			p.Start(t)
		}
	}
	require.Eventually(t, func() bool { return p.Conns() == 0 }, 10*time.Second, time.Millisecond)

	c := dial(t, p)
	lost := p.Lose()
	require.False(t, lost.Happened())
	c.ask("lost")
	c.isCut()
	require.True(t, lost.Happened())
	require.Equal(t, 4, p.Trips())
}

// The answer that is lost is the one that is named, and what happens meanwhile comes after the
// server has heeded the question and before the client knows.
func TestLoseAfter(t *testing.T) {
	p := tcpproxy.New(t, echo(t), tcpproxy.Rules{Skip: func(q []byte) bool { return string(q) == "heartbeat\n" }})
	c, other := dial(t, p), dial(t, p)
	happened, goOn := make(chan int), make(chan struct{})
	lost := p.LoseAfter(2, func() { happened <- p.Trips(); <-goOn })
	for _, text := range []string{"one", "heartbeat", "two"} {
		c.ask(text)
		c.hears(text)
	}
	require.False(t, lost.Happened())
	c.ask("three")
	require.Equal(t, 3, <-happened)
	require.True(t, lost.Happened())
	c.hearsNothing()
	close(goOn)
	c.isCut()
	lost.Cancel() // too late
	require.True(t, lost.Happened())
	other.ask("four")
	other.hears("four")

	cancelled := p.Lose()
	cancelled.Cancel()
	other.ask("five")
	other.hears("five")
	require.False(t, cancelled.Happened())

	// The later of two takes the place of the first, whose Cancel leaves the later one alone.
	first, second := p.Lose(), p.Lose()
	first.Cancel()
	other.ask("six")
	other.isCut()
	require.False(t, first.Happened())
	require.True(t, second.Happened())
}

func TestDelay(t *testing.T) {
	const delay = 200 * time.Millisecond
	p := tcpproxy.New(t, echo(t), tcpproxy.Rules{})
	c := dial(t, p)
	p.Delay(delay)
	begun := time.Now()
	c.ask("one")
	c.hears("one")
	require.GreaterOrEqual(t, time.Since(begun), delay)

	p.Delay(time.Hour)
	c.ask("two")
	c.hearsNothing()
	require.Equal(t, 2, p.Trips(), "the server has heard it")
	p.Delay(0)
	c.hears("two")

	p.Delay(time.Hour)
	c.ask("three") // and the end of the test does not wait for the answer
}

// An answer of several pieces takes as long as one of one piece.
func TestDelayOfPieces(t *testing.T) {
	const delay, pieces = 100 * time.Millisecond, 50
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = bufio.NewReader(c).ReadString('\n')
		for range pieces {
			_, _ = io.WriteString(c, "piece\n")
			time.Sleep(time.Millisecond)
		}
	})
	p := tcpproxy.New(t, l.Addr().String(), tcpproxy.Rules{})
	c := dial(t, p)
	p.Delay(delay)
	begun := time.Now()
	c.ask("all")
	for range pieces {
		c.hears("piece")
	}
	require.GreaterOrEqual(t, time.Since(begun), delay)
	require.Less(t, time.Since(begun), delay*pieces/2)
}

// For each number of bytes, so many arrive, at the server and then at the client, and the next
// thing that the client hears is a reset.
func TestResetAfter(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	heard := make(chan int, 100)
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n, _ := io.Copy(c, c)
			_ = c.Close()
			heard <- int(n)
		}
	})
	p := tcpproxy.New(t, l.Addr().String(), tcpproxy.Rules{Skip: func(q []byte) bool { return string(q) == "heartbeat\n" }})
	const question = "question\n"
	for bytes := range 2*len(question) + 1 {
		reset := p.ResetAfter(bytes)
		c := dial(t, p)
		c.ask("heartbeat") // which counts for nothing
		c.hears("heartbeat")
		_, err := io.WriteString(c, question)
		require.NoError(t, err)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
		answer := make([]byte, len(question))
		n, err := io.ReadFull(c.answers, answer)
		require.Equal(t, max(bytes-len(question), 0), n)
		if bytes == 2*len(question) {
			require.NoError(t, err)
			require.NoError(t, c.Close())
		} else {
			require.ErrorIs(t, err, syscall.ECONNRESET)
		}
		require.Equal(t, min(bytes, len(question)), <-heard-len("heartbeat\n"))
		require.Equal(t, bytes < 2*len(question), reset.Happened())
		reset.Cancel()
	}
	reset := p.ResetAfter(0)
	reset.Cancel()
	c := dial(t, p)
	c.ask("question")
	c.hears("question")
	require.False(t, reset.Happened())
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { return p.Conns() == 0 }, 10*time.Second, time.Millisecond)
}

// A test may close a proxy before its end, where it is closed again.
func TestCloseTwice(t *testing.T) {
	p := tcpproxy.New(t, echo(t), tcpproxy.Rules{})
	c := dial(t, p)
	c.ask("one")
	c.hears("one")
	p.Close()
	c.isCut()
	p.Close()
	require.Zero(t, p.Conns())
}

// What is open hears nothing any more, and what is made later is served.
func TestFreezeOpen(t *testing.T) {
	p := tcpproxy.New(t, echo(t), tcpproxy.Rules{})
	open, other := dial(t, p), dial(t, p)
	for _, c := range []client{open, other} {
		c.ask("one")
		c.hears("one")
	}
	p.FreezeOpen()
	open.ask("two")
	open.hearsNothing()
	require.Equal(t, 2, p.Trips(), "the server has not heard it")
	later := dial(t, p)
	later.ask("three")
	later.hears("three")

	require.Equal(t, 3, p.Conns())
	require.NoError(t, other.Close())
	require.Eventually(t, func() bool { return p.Conns() == 2 }, 10*time.Second, time.Millisecond)
	p.Cut()
	later.isCut()
}

// What is open stays where it is, and what is made later goes to the other server.
func TestMoveTo(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	p := tcpproxy.New(t, echo(t), tcpproxy.Rules{})
	open := dial(t, p)
	open.ask("one")
	open.hears("one")
	p.MoveTo(closed.Addr().String())
	open.ask("two")
	open.hears("two")
	dial(t, p).isCut()
	p.MoveTo(echo(t))
	later := dial(t, p)
	later.ask("three")
	later.hears("three")
}

// Questions are asked one at a time, also by those who never hear the answer.
func TestTurn(t *testing.T) {
	var mu sync.Mutex
	p := tcpproxy.New(t, echo(t), tcpproxy.Rules{
		Read: func(r io.Reader) (line []byte, err error) {
			for b := make([]byte, 1); len(line) == 0 || line[len(line)-1] != '\n'; line = append(line, b...) {
				if _, err := io.ReadFull(r, b); err != nil {
					return nil, err
				}
			}
			return line, nil
		},
		Turn:   func([]byte) func() { mu.Lock(); return mu.Unlock },
		Answer: func(answer []byte) []byte { return append([]byte("answer "), answer...) },
	})
	a, b := dial(t, p), dial(t, p)
	_, err := io.WriteString(a, "o")
	require.NoError(t, err)
	b.ask("two")
	b.hears("answer two")
	a.ask("ne")
	a.hears("answer one")

	p.Lose()
	a.ask("lost")
	a.isCut()
	b.ask("three")
	b.hears("answer three")
}
