// Package liveness finds out which connections of a pool are dead.
//
// A balancer or a firewall drops connections that were idle for some minutes, often
// without a word to either side. A question on such a connection gets no answer, and all
// connections that were idle as long are probably as dead. So when a question has got no
// answer in time, all connections that were idle at that moment are closed, unless the
// server was heard on them since the question was asked. One visit has to wait for the
// timeout, and the others get new connections.
//
// An answer that is slow to arrive is no sign of death: only silence is. Whoever waits for a
// lock on the server must have an answer before its time is over: see [Conn.OnSilence].
//
// The package watches what is written and read, below TLS, and knows nothing of what it
// means.
package liveness

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"
)

// IdleTime is how long a pool keeps a connection that nobody uses: well below the 4
// minutes after which usual balancers drop it.
const IdleTime = 2 * time.Minute

// minAttempt is the least time for an attempt on a connection that may be dead. A server
// that is alive but overloaded should have answered by then.
const minAttempt = 2 * time.Second

// Attempt returns when an attempt on a connection from a pool has to end: after a quarter
// of the time that ctx has left, but not before two seconds. So a dead connection leaves
// time for another one. It returns false if ctx has no deadline.
func Attempt(ctx context.Context) (time.Time, bool) {
	end, ok := ctx.Deadline()
	if !ok {
		return end, false
	}
	if part := time.Now().Add(max(time.Until(end)/4, minAttempt)); part.Before(end) {
		return part, true
	}
	return end, true
}

// DialFunc makes a connection.
type DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// Conns are the open connections of one pool. The zero value is ready to use.
type Conns struct {
	// Alive, if it is not nil, is asked before connections are closed because a question
	// has got no answer. It returns true if the server answers on another connection: then
	// only the question takes its time. It is for servers that cannot be told how long to
	// wait for a lock. It must be set before the first connection is made.
	Alive func() bool

	mu   sync.Mutex
	open map[*Conn]struct{}
}

// Dialer returns a function that dials like the given one. The connections that it makes
// are watched.
func (s *Conns) Dialer(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		inner, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c := &Conn{Conn: inner, conns: s}
		c.heard.Store(now())
		s.mu.Lock()
		if s.open == nil {
			s.open = make(map[*Conn]struct{})
		}
		s.open[c] = struct{}{}
		s.mu.Unlock()
		// Drivers look at the file descriptor to find connections that the server has
		// closed, and must not do so where there is none.
		if sys, ok := inner.(syscall.Conn); ok {
			return sysConn{c, sys}, nil
		}
		return c, nil
	}
}

// DropIdle closes all connections on which no answer is awaited. It is for a server that
// has changed, as when it has become read-only.
func (s *Conns) DropIdle() { s.drop(now()) }

// drop closes the idle connections on which the server was not heard since a time.
func (s *Conns) drop(since int64) {
	s.mu.Lock()
	var silent []*Conn
	for c := range s.open {
		if c.heard.Load() < since && c.state.CompareAndSwap(idle, dropped) {
			silent = append(silent, c)
		}
	}
	s.mu.Unlock()
	for _, c := range silent {
		_ = c.Close()
	}
}

// Of returns the watched connection in a connection, which may be one of TLS. It is nil
// if there is none.
func Of(conn net.Conn) *Conn {
	for {
		switch c := conn.(type) {
		case interface{ watched() *Conn }:
			return c.watched()
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// started is where the clock of now begins.
var started = time.Now()

// now is a time of the monotonic clock, greater than zero.
func now() int64 { return int64(time.Since(started)) + 1 }
