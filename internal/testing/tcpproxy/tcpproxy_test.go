package tcpproxy_test

import (
	"bufio"
	"io"
	"net"
	"sync"
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
	require.False(t, lost())
	c.ask("lost")
	c.isCut()
	require.True(t, lost())
	require.Equal(t, 4, p.Trips())
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
