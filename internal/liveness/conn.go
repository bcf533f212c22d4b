package liveness

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// The states of a connection. Any other state is the time at which a question was asked to
// which nothing has been heard yet.
const (
	idle    int64 = 0
	dropped int64 = -1
)

// grace is how long a server may take to answer after OnSilence.
const grace = time.Second

// minSilence is how long a question must have waited to say anything about other
// connections. Somebody with less patience must not empty the pool of a slow server.
const minSilence = 500 * time.Millisecond

// Conn is a connection that is watched.
type Conn struct {
	net.Conn

	// OnSilence, if it is not nil, is called when a question has got no answer in time,
	// and the operation has time left: see SetAttempt. It may ask the server, on another
	// connection, to end what it is doing. A server that answers then, within a second, is
	// alive, and the connection goes on. It must be set before the first question that has
	// a deadline.
	// It gets the time that is left.
	OnSilence func(left time.Duration)

	conns *Conns
	state atomic.Int64
	heard atomic.Int64 // when the server was last heard
	end   atomic.Int64 // see SetAttempt
}

// SetAttempt gives the connection the deadline of an attempt, and says when the whole
// operation has to end.
func (c *Conn) SetAttempt(attempt, end time.Time) error {
	c.end.Store(int64(end.Sub(started)) + 1)
	return c.SetDeadline(attempt)
}

// IsDropped reports whether the connection was closed because it was thought to be dead.
// Nothing was sent on it since.
func (c *Conn) IsDropped() bool { return c.state.Load() == dropped }

// Write sends nothing if the connection was dropped.
func (c *Conn) Write(b []byte) (int, error) {
	if c.state.Load() == idle {
		c.state.CompareAndSwap(idle, now())
	}
	if c.IsDropped() {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: net.ErrClosed}
	}
	return c.Conn.Write(b)
}

func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		if asked := c.state.Load(); asked > idle {
			n, err = c.silence(b, asked, err)
		}
	}
	if n > 0 {
		c.heard.Store(now())
		if asked := c.state.Load(); asked > idle {
			c.state.CompareAndSwap(asked, idle)
		}
	}
	return n, err
}

// silence decides what becomes of a question that has got no answer in time. If the server
// has nothing to say after OnSilence either, no connection is trusted that was idle while
// the question waited.
func (c *Conn) silence(b []byte, asked int64, timeout error) (int, error) {
	if left := time.Duration(c.end.Load() - now()); c.OnSilence != nil && left > 0 {
		c.OnSilence(left)
		left = time.Duration(c.end.Load() - now())
		if c.SetReadDeadline(time.Now().Add(min(left, grace))) == nil {
			if n, err := c.Conn.Read(b); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				return n, err
			}
		}
	}
	if time.Duration(now()-asked) >= minSilence && (c.conns.Alive == nil || !c.conns.Alive()) {
		c.conns.drop(asked)
	}
	return 0, timeout
}

// Close closes the connection, without a word of the protocol.
func (c *Conn) Close() error {
	c.conns.mu.Lock()
	delete(c.conns.open, c)
	c.conns.mu.Unlock()
	return c.Conn.Close()
}

func (c *Conn) watched() *Conn { return c }

// sysConn is a connection that has a file descriptor.
type sysConn struct {
	*Conn
	sys syscall.Conn
}

func (c sysConn) SyscallConn() (syscall.RawConn, error) { return c.sys.SyscallConn() }
