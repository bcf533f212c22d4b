package mongo_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands between a client and a server, command by command.
type proxy struct {
	addr   string
	server string
	serial bool        // one command at a time in each collection
	lose   atomic.Bool // cut the connection in place of the answer to the next update
	mute   atomic.Bool // answer nothing any more

	listener net.Listener
	turns    sync.Map // of a *sync.Mutex for each collection
	mu       sync.Mutex
	conns    map[net.Conn]bool
}

func newProxy(t testing.TB, server string) *proxy {
	p := &proxy{server: server, conns: make(map[net.Conn]bool)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p.addr = l.Addr().String()
	require.NoError(t, l.Close())
	return p
}

// startProxy starts a proxy for one test.
func startProxy(t testing.TB, uri string) (*proxy, string) {
	u, err := url.Parse(uri)
	require.NoError(t, err)
	p := newProxy(t, u.Host)
	p.start(t)
	t.Cleanup(p.stop)
	return p, p.uri(t, uri)
}

// uri names the proxy instead of the server.
func (p *proxy) uri(t testing.TB, server string) string {
	u, err := url.Parse(server)
	require.NoError(t, err)
	u.Host = p.addr
	q := u.Query()
	q.Set("directConnection", "true") // and not what a replica set knows of itself
	u.RawQuery = q.Encode()
	return u.String()
}

func (p *proxy) start(t testing.TB) {
	var err error
	p.listener, err = net.Listen("tcp", p.addr)
	require.NoError(t, err)
	go func(l net.Listener) {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}(p.listener)
}

// stop is an outage: no connection survives, and none is made until start.
func (p *proxy) stop() {
	_ = p.listener.Close()
	p.cut()
}

// cut is a restart: no connection survives.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.conns[client] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, client)
		p.mu.Unlock()
	}()

	for {
		command, err := message(client)
		if err != nil {
			return
		}
		answer, err := p.ask(server, command)
		if err != nil || isUpdate(command) && p.lose.CompareAndSwap(true, false) {
			return
		}
		if p.mute.Load() {
			continue
		}
		if _, err := client.Write(answer); err != nil {
			return
		}
	}
}

func (p *proxy) ask(server net.Conn, command []byte) ([]byte, error) {
	if name, ok := collection(command); ok && p.serial {
		turn, _ := p.turns.LoadOrStore(name, new(sync.Mutex))
		turn.(*sync.Mutex).Lock()
		defer turn.(*sync.Mutex).Unlock()
	}
	if _, err := server.Write(command); err != nil {
		return nil, err
	}
	return message(server)
}

// collection is the value of the first field of a command, which is a string
// where the command is about a collection.
func collection(command []byte) (string, bool) {
	const first = 16 + 4 + 1 + 4 // after header, flags, kind of section, length
	if len(command) < first || command[first] != 0x02 {
		return "", false
	}
	_, val, ok := bytes.Cut(command[first+1:], []byte{0}) // the name of the field
	if !ok || len(val) < 4 {
		return "", false
	}
	name, _, ok := bytes.Cut(val[4:], []byte{0}) // after its length
	return string(name), ok
}

func isUpdate(command []byte) bool { return bytes.Contains(command, []byte("\x02update\x00")) }

// message reads one message of the protocol, which starts with its length.
func message(r io.Reader) ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.LittleEndian.Uint32(head))
	copy(msg, head)
	_, err := io.ReadFull(r, msg[4:])
	return msg, err
}
