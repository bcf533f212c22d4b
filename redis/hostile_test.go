package redis_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/redis"
)

// hostile starts a server that is well until it is told to answer each command by some bytes.
func hostile(t *testing.T) (addr string, answer *atomic.Pointer[string]) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	answer = new(atomic.Pointer[string])
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					if !strings.HasPrefix(line, "*") {
						continue // a part of a command
					}
					text := "$2\r\nOK\r\n"
					if bad := answer.Load(); bad != nil {
						text = *bad
					}
					_, _ = io.WriteString(c, text)
				}
			}()
		}
	}()
	return listener.Addr().String(), answer
}

// What no server of Redis answers is an error of the operation, and no panic: go-redis takes a
// length below zero for one. The connection is not used again.
func TestHostileServer(t *testing.T) {
	for _, text := range []string{"$-5\r\n", "*-5\r\n", "*1\r\n$-5\r\n", "*3\r\n:1\r\n*-7\r\n", ":\r\n", "\r\n", "$x\r\n", "_\r\n", "-\r\n"} {
		t.Run(strings.TrimSpace(text), func(t *testing.T) {
			addr, answer := hostile(t)
			ctx, sid := context.Background(), "abcdefghijklmnop"
			config := redis.Config{Options: &redis.Options{Addr: addr}}
			store, err := redis.Initer()(ctx, config, session.IDWriter(func(http.ResponseWriter, *http.Request, string) {}))
			require.NoError(t, err)
			answer.Store(&text)
			_, err = store.Read(ctx, sid)
			require.ErrorContains(t, err, "session: redis: read: ")
			require.ErrorContains(t, store.Destroy(ctx, sid), "session: redis: destroy: ")
			_ = store.GC(ctx) // asks for the time
			none := "$-1\r\n$-1\r\n"
			answer.Store(&none)
			require.False(t, store.Exist(ctx, sid))
			require.NoError(t, store.(io.Closer).Close())
		})
	}
}
