package tcpproxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// serve has one connection of a client, from its beginning to its end.
func (p *Proxy) serve(l net.Listener, client net.Conn) {
	defer client.Close()
	c := &conn{Proxy: p, client: client}
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
	frozen         atomic.Bool // see FreezeOpen
	asked          atomic.Bool // a question that counts has no answer yet
	done           atomic.Pointer[func()]
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
	if c.rules.Skip == nil || !c.rules.Skip(b) {
		c.asked.Store(true)
	}
	_, err := c.server.Write(b)
	return err
}

func (c *conn) answer(b []byte) error {
	c.answered()
	if c.frozen.Load() {
		return nil
	}
	if c.asked.Swap(false) {
		c.trips.Add(1)
		if c.lose.CompareAndSwap(true, false) {
			return errCut
		}
	}
	if c.await() == Mute || c.frozen.Load() {
		return nil
	}
	if c.rules.Answer != nil {
		b = c.rules.Answer(b)
	}
	_, err := c.client.Write(b)
	return err
}

// answered ends the turn of a question.
func (c *conn) answered() {
	if done := c.done.Swap(nil); done != nil {
		(*done)()
	}
}
