package mongo_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/mongo"
)

// proxied starts a proxy for one test, and returns a Config that leads through it.
func proxied(t testing.TB) (*tcpproxy.Proxy, mongo.Config) {
	config, uri := testConfig(t), server(t)
	p := tcpproxy.New(t, host(t, uri), tcpproxy.Rules{Skip: isHeartbeat})
	config.Options = options.Client().ApplyURI(through(t, uri, p.Addr()))
	return p, config
}

func host(t testing.TB, uri string) string {
	u, err := url.Parse(uri)
	require.NoError(t, err)
	return u.Host
}

// through names the proxy instead of the server.
func through(t testing.TB, uri, proxy string) string {
	u, err := url.Parse(uri)
	require.NoError(t, err)
	u.Host = proxy
	q := u.Query()
	q.Set("directConnection", "true") // and not what a replica set knows of itself
	u.RawQuery = q.Encode()
	return u.String()
}

// isHeartbeat tells what the driver asks by itself: who the server is, and how it is.
func isHeartbeat(question []byte) bool {
	return bytes.Contains(question, []byte("ismaster\x00")) || bytes.Contains(question, []byte("isMaster\x00")) ||
		bytes.Contains(question, []byte("hello\x00"))
}

// inTurn lets commands on the same collection go one by one.
func inTurn() tcpproxy.Rules {
	var turns sync.Map // of a *sync.Mutex for each collection
	return tcpproxy.Rules{
		Read: message,
		Turn: func(command []byte) (done func()) {
			name, ok := collection(command)
			if !ok {
				return func() {}
			}
			turn, _ := turns.LoadOrStore(name, new(sync.Mutex))
			turn.(*sync.Mutex).Lock()
			return turn.(*sync.Mutex).Unlock
		},
	}
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
