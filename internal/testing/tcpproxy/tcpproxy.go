// Package tcpproxy is the proxy that tests put between a store and its server, to
// count what goes over the network and to break it.
//
// A Proxy listens on loopback and makes one connection to the server for each one
// of a client. What arrives is passed on in pieces: questions from the client,
// answers from the server. A Mode says what becomes of the pieces of all connections
// from now on, and Delay when the answers arrive. Cut, Reset, FreezeOpen and Stop happen at
// once; Lose, LoseAfter and ResetAfter order an Event, which happens later, at most once. The
// proxy knows nothing of what the pieces mean. A test that has to know tells it so by Rules.
package tcpproxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Mode says what becomes of pieces.
type Mode int

const (
	// Pass passes everything on.
	Pass Mode = iota
	// Mute lets the questions pass, and the answers vanish.
	Mute
	// Freeze holds all pieces until the mode changes, and then they pass.
	Freeze
	// Hang accepts connections and does nothing with them. One that is made in this
	// mode, or on which something is asked, hangs for good.
	Hang
)

// Rules are what a test knows of the protocol. The zero value knows nothing.
type Rules struct {
	// Skip tells which questions count for nothing, such as a heartbeat.
	Skip func(question []byte) bool
	// Read reads one piece, for Turn to see whole messages and no less. Without it a
	// piece is what has arrived.
	Read func(io.Reader) ([]byte, error)
	// Turn returns when a question may be asked. What it returns is called when the
	// answer is there, or when there will be none.
	Turn func(question []byte) (done func())
	// Answer returns what is passed on in place of an answer. It may take its time.
	Answer func(answer []byte) []byte
	// Wrap makes what the proxy talks to of a connection that it has accepted.
	Wrap func(net.Conn) net.Conn
}

// Proxy stands between clients and a server.
type Proxy struct {
	rules Rules
	trips atomic.Int64
	ended sync.Once
	end   chan struct{} // closed by Close
	wg    sync.WaitGroup

	mu       sync.Mutex
	addr     string
	server   string             // of connections that are made from now on
	listener net.Listener       // nil while stopped
	conns    map[net.Conn]*conn // those of the clients
	mode     Mode
	delay    time.Duration
	changed  chan struct{} // closed when the mode or the delay changes
	loss     *Event        // of LoseAfter, nil if none is to come
	reset    *Event        // of ResetAfter, nil if none is to come
}

// Event is what Lose, LoseAfter or ResetAfter has ordered.
type Event struct {
	p         *Proxy
	meanwhile func() // see LoseAfter

	// Guarded by mu of the Proxy.
	left     int // how many answers or bytes still pass
	happened bool
}

// Happened reports whether the event has happened. After Cancel that no longer changes.
func (e *Event) Happened() bool {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	return e.happened
}

// Cancel calls the event off. If it has happened, Cancel does nothing.
func (e *Event) Cancel() {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	if e.p.loss == e {
		e.p.loss = nil
	}
	if e.p.reset == e {
		e.p.reset = nil
	}
}

// New starts a proxy for one test.
func New(t testing.TB, server string, rules Rules) *Proxy {
	t.Helper()
	p, err := Open(server, rules)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// Open starts a proxy, which runs until Close.
func Open(server string, rules Rules) (*Proxy, error) {
	p := &Proxy{
		rules: rules, server: server, addr: "127.0.0.1:0", end: make(chan struct{}),
		conns: make(map[net.Conn]*conn), changed: make(chan struct{}),
	}
	return p, p.listen()
}

// Close ends the proxy and waits until nothing of it is left. It may be called more than once.
func (p *Proxy) Close() {
	p.ended.Do(func() { close(p.end) })
	p.Stop()
	p.wg.Wait()
}

// Addr is where the proxy listens, host:port.
func (p *Proxy) Addr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addr
}

// Trips is the number of round trips so far: questions that count, followed by an
// answer. An answer is counted when it arrives, also one that is then lost. When a client has
// an answer, that answer is counted.
func (p *Proxy) Trips() int { return int(p.trips.Load()) }

// Conns is the number of connections that clients have to the proxy.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// Set sets the mode.
func (p *Proxy) Set(mode Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = mode
	p.wake()
}

// Delay has each answer arrive so long after its question, from now on. That also holds for
// an answer that is on its way.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
	p.wake()
}

// wake has those look again who wait for a change. The caller has the lock.
func (p *Proxy) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// MoveTo is a failover: connections that are made from now on go to another server.
// Those that are open stay where they are.
func (p *Proxy) MoveTo(server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = server
}

// FreezeOpen makes all open connections die without a word, as a balancer does that
// forgets them: whatever is sent on them from now on, by either side, is lost, and so is
// that a side closes its end. Connections that are made later pass.
func (p *Proxy) FreezeOpen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.frozen.Store(true)
	}
}

// Lose cuts a connection in place of the next answer that counts. The server has done then what
// the question asked.
func (p *Proxy) Lose() *Event { return p.LoseAfter(0, nil) }

// LoseAfter is Lose for the answer that comes after so many others that count. The function, if
// there is one, is called before the connection is cut. The event has happened by then. There is
// one loss at a time: a later Lose or LoseAfter cancels one that has not happened.
func (p *Proxy) LoseAfter(answers int, meanwhile func()) *Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loss = &Event{p: p, left: answers, meanwhile: meanwhile}
	return p.loss
}

// ResetAfter lets so many bytes pass, of questions that count and of their answers, on all
// connections together. In place of the next byte its connection ends without a goodbye, and
// from then on everything passes. There is one reset at a time: a later ResetAfter cancels one
// that has not happened.
func (p *Proxy) ResetAfter(bytes int) *Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reset = &Event{p: p, left: bytes}
	return p.reset
}

// Cut ends all connections.
func (p *Proxy) Cut() { p.cut(func(net.Conn) {}) }

// Reset ends all connections without a goodbye.
func (p *Proxy) Reset() { p.cut(noGoodbye) }

// noGoodbye makes a connection end by a reset (RST) when it is closed.
func noGoodbye(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }

func (p *Proxy) cut(before func(net.Conn)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		before(c)
		_ = c.Close()
	}
}

// Stop is an outage: no connection survives, and none is made until Start.
func (p *Proxy) Stop() {
	p.mu.Lock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	p.mu.Unlock()
	p.Cut()
}

// Start ends an outage: the proxy is back at its address.
func (p *Proxy) Start(t testing.TB) {
	t.Helper()
	if err := p.listen(); err != nil {
		t.Fatal(err)
	}
}

func (p *Proxy) listen() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		return err
	}
	p.listener, p.addr = l, l.Addr().String()
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // no descriptor is free, say, and one may be soon
				select {
				case <-time.After(10 * time.Millisecond):
				case <-p.end:
				}
				continue
			}
			p.wg.Go(func() { p.serve(l, c) })
		}
	})
	return nil
}
