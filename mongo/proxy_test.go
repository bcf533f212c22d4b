package mongo_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/mongo"
)

// proxied starts a proxy for one test, and returns a Config that leads through it.
func proxied(t testing.TB) (*tcpproxy.Proxy, mongo.Config) {
	return ruled(t, tcpproxy.Rules{})
}

// ruled is proxied with rules.
func ruled(t testing.TB, rules tcpproxy.Rules) (*tcpproxy.Proxy, mongo.Config) {
	config, uri := testConfig(t), server(t)
	rules.Skip = isHeartbeat
	p := tcpproxy.New(t, host(t, uri), rules)
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
	_, val, ok := firstField(command)
	if !ok || len(val) < 4 {
		return "", false
	}
	name, _, ok := bytes.Cut(val[4:], []byte{0}) // after its length
	return string(name), ok
}

// firstField is that of a command about a collection: its name is that of the command.
func firstField(command []byte) (name, rest []byte, ok bool) {
	const first = 16 + 4 + 1 + 4 // after header, flags, kind of section, length
	if len(command) < first || command[first] != 0x02 {
		return nil, nil, false
	}
	return bytes.Cut(command[first+1:], []byte{0})
}

// isCommand tells whether a message is the command of a name.
func isCommand(message []byte, name string) bool {
	got, _, ok := firstField(message)
	return ok && string(got) == name
}

// reply is a message in place of an answer.
func reply(t testing.TB, answer []byte, doc bson.D) []byte {
	raw := []byte{12, 0, 0, 0, 0x11, 'n', 'o', 't', 'B', 'S', 'O', 'N'}
	if doc != nil {
		var err error
		raw, err = bson.Marshal(doc)
		assert.NoError(t, err)
	}
	msg := append([]byte{}, answer[:16]...)          // whose answer it is
	binary.LittleEndian.PutUint32(msg[12:], 2013)    // OP_MSG
	msg = append(append(msg, 0, 0, 0, 0, 0), raw...) // no flags, one document
	binary.LittleEndian.PutUint32(msg, uint32(len(msg)))
	return msg
}

// refusing has a server that does not know a command, and gives an error for it.
type refusing struct {
	command string
	refuse  func(client io.Reader) bool
	answer  bson.D
}

func (r refusing) rules(t testing.TB) tcpproxy.Rules {
	return tcpproxy.Rules{
		Read: func(from io.Reader) ([]byte, error) {
			msg, err := message(from)
			if err == nil && isCommand(msg, r.command) && r.refuse(from) {
				copy(msg[26:], "unknow") // of six letters
			}
			return msg, err
		},
		Answer: func(answer []byte) []byte {
			if bytes.Contains(answer, []byte("'unknow'")) {
				return reply(t, answer, r.answer)
			}
			return answer
		},
	}
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
