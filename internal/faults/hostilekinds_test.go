package faults

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const idAlphabet = "0123456789abcdefghijklmnopqrstuvwxyz"

func randomText(rng *rand.Rand, n int, alphabet string) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[rng.IntN(len(alphabet))]
	}
	return string(b)
}

func randomID(rng *rand.Rand) string { return randomText(rng, 16, idAlphabet) }

// pair is our cookie, as it stands in a Cookie header.
func (c *hostileClient) pair(val string) string { return c.cookie + "=" + val }

// copies is one line of many cookies of our name.
func (c *hostileClient) copies(n int, val func() string) []string {
	pairs := make([]string, n)
	for i := range pairs {
		pairs[i] = c.pair(val())
	}
	return []string{strings.Join(pairs, "; ")}
}

// manyIDs is the kind with more IDs than are looked up.
const manyIDs = 0

// hostileKinds are the kinds of a Cookie header, as its lines. The large ones are rare.
var hostileKinds = []func(c *hostileClient, rng *rand.Rand) []string{
	manyIDs: func(c *hostileClient, rng *rand.Rand) []string { // 50 cookies of our name
		return c.copies(50, func() string { return randomID(rng) })
	},
	func(c *hostileClient, rng *rand.Rand) []string { // one that may be ours
		id := randomID(rng)
		if c.note(rng) {
			c.mu.Lock()
			c.seen = append(c.seen, id)
			c.mu.Unlock()
		}
		return []string{c.pair(id)}
	},
	func(c *hostileClient, rng *rand.Rand) []string { // 50 copies of one
		id := randomID(rng)
		return c.copies(50, func() string { return id })
	},
	func(c *hostileClient, rng *rand.Rand) []string { // too long
		return []string{c.pair(randomText(rng, 8<<10, idAlphabet))}
	},
	func(c *hostileClient, rng *rand.Rand) []string { // of all lengths, up to the longest and one more
		return []string{c.pair(randomText(rng, 255+rng.IntN(2), idAlphabet)), c.pair(randomText(rng, rng.IntN(255), idAlphabet))}
	},
	func(c *hostileClient, rng *rand.Rand) []string { // random bytes
		b := make([]byte, rng.IntN(200))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return []string{string(b), c.pair(string(b))}
	},
	func(c *hostileClient, rng *rand.Rand) []string { // bad characters, quotes, escapes
		id := randomID(rng)
		i := rng.IntN(len(id))
		bad := id[:i] + randomText(rng, 1, "A_-./\\%\x00;, =\"é") + id[i+1:]
		return []string{c.pair(bad) + "; " + c.pair(`"`+id+`"`) + "; " + c.pair(`"`+id) + "; " + c.pair("%61"+id[3:]), strings.ToUpper(c.cookie) + "=" + id}
	},
	func(c *hostileClient, rng *rand.Rand) []string { // of sessions that have ended or were renewed
		return c.copies(1+rng.IntN(5), func() string { return c.dead[rng.IntN(len(c.dead))] })
	},
	func(c *hostileClient, rng *rand.Rand) []string { // paths and statements
		return []string{c.pair([]string{"../../../../../etc/passwd", "' OR '1'='1", "*", "flamego::session::owner:a", ".owner", "~bcdefghijklmnop", "$where", "\r\nSET x 1\r\n"}[rng.IntN(8)])}
	},
	func(c *hostileClient, rng *rand.Rand) []string { // thousands of lines
		if rng.IntN(50) != 0 {
			return nil
		}
		lines := make([]string, 3000)
		for i := range lines {
			lines[i] = c.pair(randomID(rng))
		}
		return lines
	},
	func(c *hostileClient, rng *rand.Rand) []string { // as much as net/http lets through
		if rng.IntN(200) != 0 {
			return []string{""}
		}
		return []string{strings.Repeat([]string{";", "=", c.pair("a;"), c.pair(`"`), c.cookie}[rng.IntN(5)], 1<<16)}
	},
}

// byNetwork makes requests that only a connection can: a header as large as the server takes, and
// larger, thousands of lines, and bytes that are none of a header.
func (c *hostileClient) byNetwork(t *testing.T) {
	server := httptest.NewServer(c.app)
	defer server.Close()
	const limit = http.DefaultMaxHeaderBytes
	for what, test := range map[string]struct {
		header string
		want   string // the beginning of the status, or empty for any
	}{
		"large":       {"Cookie: " + c.pair(strings.Repeat("a", limit-200)) + "\r\n", "200"},
		"many":        {"Cookie: " + strings.Repeat(c.pair("qqqqqqqqqqqqqqqq; "), (limit-200)/len(c.pair("qqqqqqqqqqqqqqqq; "))) + "\r\n", "200"},
		"many lines":  {strings.Repeat("Cookie: "+c.pair("qqqqqqqqqqqqqqqq")+"\r\n", 5000), "200"},
		"too large":   {"Cookie: " + c.pair(strings.Repeat("a", limit+10_000)) + "\r\n", "431"},
		"zero bytes":  {"Cookie: " + c.pair("aaaaaaaa\x00aaaaaaa") + "\r\n", "400"},
		"line breaks": {"Cookie: " + c.pair("aaaaaaaa\r\n aaaaaaa") + "\r\n", ""},
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
		go func() { // the server may answer, and hang up, before it has read everything
			_, _ = io.WriteString(conn, "GET /get HTTP/1.1\r\nHost: a\r\n"+test.header+"\r\n")
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, what)
		require.True(t, strings.HasPrefix(resp.Status, test.want), "%s: %s", what, resp.Status)
		require.NoError(t, conn.Close())
	}
}

// isHello reports whether a question is one by which drivers of MongoDB watch their server.
func isHello(question []byte) bool {
	return bytes.Contains(question, []byte("isMaster")) || bytes.Contains(question, []byte("ismaster")) || bytes.Contains(question, []byte("hello\x00"))
}
