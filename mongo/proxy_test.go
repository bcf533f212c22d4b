package mongo_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session/internal/testing/mongowire"
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
	rules.Skip = mongowire.IsHeartbeat
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
			msg, err := mongowire.Message(from)
			if err == nil && mongowire.IsCommand(msg, r.command) && r.refuse(from) {
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
