// Package counting holds tests that all stores on a server share: what a request
// costs in round trips, what is left behind after Close, and what errors show.
// It is for tests only.
package counting

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy stands between a store and its server and counts round trips: bytes of
// the client followed by bytes of the server, on any connection. It counts an
// answer before it passes it on, so the number is exact when the client has it.
type Proxy struct {
	// Skip tells which bytes of a client ask for nothing that counts, such as a
	// heartbeat. It is set before the first connection.
	Skip func(question []byte) bool

	addr, server string
	trips        atomic.Int64
	hangs        atomic.Bool

	mu       sync.Mutex
	listener net.Listener // nil while stopped
	conns    map[net.Conn]bool
	wg       sync.WaitGroup
}

// NewProxy starts a proxy for one test, on loopback.
func NewProxy(t testing.TB, server string) *Proxy {
	t.Helper()
	p := &Proxy{server: server, addr: "127.0.0.1:0", conns: make(map[net.Conn]bool)}
	p.Start(t)
	t.Cleanup(func() {
		p.Stop()
		p.wg.Wait()
	})
	return p
}

// Addr is where the proxy listens, host:port.
func (p *Proxy) Addr() string { return p.addr }

// Trips is the number of round trips so far.
func (p *Proxy) Trips() int { return int(p.trips.Load()) }

// Conns is the number of connections of clients that are open.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// Hang makes answers vanish, or not.
func (p *Proxy) Hang(on bool) { p.hangs.Store(on) }

// Stop is an outage: no connection survives, and none is made until Start.
func (p *Proxy) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	for c := range p.conns {
		_ = c.Close()
	}
}

// Start ends an outage.
func (p *Proxy) Start(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		return
	}
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	p.listener, p.addr = l, l.Addr().String()
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				p.wg.Go(func() { p.serve(l, c) })
			}
		}
	})
}

func (p *Proxy) serve(l net.Listener, client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()

	p.mu.Lock()
	stopped := p.listener != l
	if !stopped {
		p.conns[client] = true
	}
	p.mu.Unlock()
	if stopped {
		return
	}
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, client)
	}()

	var asked atomic.Bool
	p.wg.Go(func() {
		defer client.Close()
		pass(client, server, func([]byte) bool {
			if asked.Swap(false) {
				p.trips.Add(1)
			}
			return !p.hangs.Load()
		})
	})
	pass(server, client, func(question []byte) bool {
		if p.Skip == nil || !p.Skip(question) {
			asked.Store(true)
		}
		return true
	})
}

// pass copies what may pass, until one side is gone.
func pass(to, from net.Conn, may func([]byte) bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && may(buf[:n]) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
