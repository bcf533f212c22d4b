package tcpproxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// serve has one connection of a client, from its beginning to its end.
func (p *Proxy) serve(l net.Listener, client net.Conn) {
	defer client.Close()
	c := &conn{Proxy: p, client: client, accepted: client, since: time.Now()}
	p.mu.Lock()
	stopped := p.listener != l
	if !stopped {
		p.conns[client] = c
	}
	hangs, addr := p.mode == Hang, p.server
	p.mu.Unlock()
	if stopped {
		return
	}
	forget := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, client)
	}
	defer forget()
	if hangs {
		<-p.end
		return
	}
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer server.Close()
	c.server = server
	if p.rules.Wrap != nil {
		c.client = p.rules.Wrap(client)
	}

	var wg sync.WaitGroup
	wg.Go(func() {
		defer server.Close()
		c.pass(c.client, c.question)
		forget()
		c.holdEnd()
	})
	c.pass(server, c.answer)
	c.holdEnd()
	_ = client.Close()
	wg.Wait()
	c.answered() // by nobody any more
}

// conn is a connection of a client with that to the server.
type conn struct {
	*Proxy
	client, server net.Conn
	accepted       net.Conn    // client, before Rules.Wrap
	frozen         atomic.Bool // see FreezeOpen
	asked          atomic.Bool // a question that counts has no answer yet
	skipped        atomic.Bool // the last question counts for nothing
	done           atomic.Pointer[func()]

	// Guarded by mu of the Proxy.
	since   time.Time // of the last question
	isReset bool      // the reset of ResetAfter has hit this connection
}

// pass hands on piece after piece, until one side is gone.
func (c *conn) pass(from net.Conn, piece func([]byte) error) {
	read := c.rules.Read
	if read == nil {
		buf := make([]byte, 64<<10)
		read = func(r io.Reader) ([]byte, error) {
			n, err := r.Read(buf)
			if n > 0 {
				err = nil // it comes again
			}
			return buf[:n], err
		}
	}
	for {
		b, err := read(from)
		if err != nil || piece(b) != nil {
			return
		}
	}
}

// await returns the mode, once it is not Freeze.
func (c *conn) await() Mode {
	for {
		c.mu.Lock()
		mode, changed := c.mode, c.changed
		c.mu.Unlock()
		if mode != Freeze {
			return mode
		}
		select {
		case <-changed:
		case <-c.end:
			return Pass // to nobody
		}
	}
}

// holdEnd keeps it from one side of a frozen connection that the other has closed it.
func (c *conn) holdEnd() {
	if c.frozen.Load() {
		<-c.end
	}
}

var errCut = errors.New("the connection is cut")

func (c *conn) question(b []byte) error {
	if c.await() == Hang {
		<-c.end
		return errCut
	}
	if c.frozen.Load() {
		return nil
	}
	if c.rules.Turn != nil {
		done := c.rules.Turn(b)
		c.done.Store(&done)
	}
	c.mu.Lock()
	c.since = time.Now()
	c.mu.Unlock()
	c.skipped.Store(c.rules.Skip != nil && c.rules.Skip(b))
	if !c.skipped.Load() {
		c.asked.Store(true)
	}
	return c.write(c.server, b)
}

func (c *conn) answer(b []byte) error {
	c.answered()
	if c.frozen.Load() {
		return nil
	}
	if c.asked.Swap(false) {
		c.trips.Add(1)
		if lost := c.loseAnswer(); lost != nil {
			if lost.meanwhile != nil {
				lost.meanwhile()
			}
			return errCut
		}
	}
	c.travel()
	if c.await() == Mute || c.frozen.Load() {
		return nil
	}
	if c.rules.Answer != nil {
		b = c.rules.Answer(b)
	}
	return c.write(c.client, b)
}

// loseAnswer returns the event that an answer is lost by, or nil if the answer passes.
func (c *conn) loseAnswer() *Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	lost := c.loss
	switch {
	case lost == nil:
		return nil
	case lost.left > 0:
		lost.left--
		return nil
	}
	c.loss, lost.happened = nil, true
	return lost
}

// travel waits for as long as an answer takes. The time is counted from the question, so that
// an answer of several pieces takes no longer than one of one piece.
func (c *conn) travel() {
	c.mu.Lock()
	since := c.since
	c.mu.Unlock()
	for {
		c.mu.Lock()
		rest, changed := time.Until(since.Add(c.delay)), c.changed
		c.mu.Unlock()
		if rest <= 0 {
			return
		}
		select {
		case <-time.After(rest):
		case <-changed:
		case <-c.end:
			return
		}
	}
}

// write passes a piece on, or the part of it before a reset.
func (c *conn) write(to net.Conn, b []byte) error {
	n, reset := c.passing(len(b))
	if _, err := to.Write(b[:n]); err != nil || !reset {
		return err
	}
	noGoodbye(c.accepted)
	_ = c.accepted.Close()
	return errCut
}

// passing returns how many of so many bytes pass, and whether the connection is reset then.
func (c *conn) passing(length int) (n int, reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.isReset:
		return 0, true
	case c.reset == nil || c.skipped.Load():
		return length, false
	case length <= c.reset.left:
		c.reset.left -= length
		return length, false
	}
	n = c.reset.left
	c.reset.happened, c.isReset, c.reset = true, true, nil
	return n, true
}

// answered ends the turn of a question.
func (c *conn) answered() {
	if done := c.done.Swap(nil); done != nil {
		(*done)()
	}
}
