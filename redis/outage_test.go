package redis_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/redis"
)

func TestScriptsAreSentAgain(t *testing.T) {
	t.Parallel()
	p := startPrivate(t)
	ctx := context.Background()
	b := openBackend(t, redis.Config{Options: &redis.Options{Addr: p.Addr}})
	_, err := b.Insert(ctx, "a00", rec("0", time.Minute))
	require.NoError(t, err)
	c := bare(t, &redis.Options{Addr: p.Addr})
	for _, step := range []string{"01", "12", "23"} {
		require.NoError(t, c.ScriptFlush(ctx).Err())
		ok, err := b.Swap(ctx, "a00", []byte(step[:1]), rec(step[1:], time.Minute))
		require.NoError(t, err)
		require.True(t, ok)
	}
}

// The pool is full of connections that are dead after a restart; the first
// request of each of many goes through all the same.
func TestRestart(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"own", "shared", "reset"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startPrivate(t)
			p := tcpproxy.New(t, server.Addr, tcpproxy.Rules{})
			// With the rests of go-redis between its attempts it takes a client of the
			// app about a second.
			size, limit := 200, time.Second
			if name == "shared" {
				size, limit = 40, 5*time.Second
			}
			config := redis.Config{Options: &redis.Options{Addr: server.Addr, PoolSize: size}}
			switch name {
			case "shared":
				config.Client = bare(t, config.Options)
			case "reset":
				config.Options.Addr = p.Addr()
			}
			b := openBackend(t, config)
			require.NoError(t, redis.FillPool(deadline(t, 10*time.Second), b))
			require.Equal(t, size, redis.Conns(b))
			if name == "reset" {
				p.Reset()
			} else {
				server.Kill()
				server.Start(t)
			}

			start := time.Now()
			data := session.Data{"k": 1}
			s := session.NewBaseSessionWithData("a00", session.GobEncoder, noID, data)
			require.NoError(t, session.NewStore(b, session.StoreConfig{}).Save(deadline(t, limit), s))
			t.Logf("%d connections were broken for %v", size, time.Since(start))
			ctx := deadline(t, 5*time.Second)
			now, found, err := b.Load(ctx, "a00")
			require.NoError(t, err)
			require.True(t, found)
			require.EqualValues(t, 1, winners(t, func(int) (bool, error) {
				return b.Swap(ctx, "a00", now.Data, rec("two", time.Minute))
			}))
		})
	}
}

// After more failures than the pool is large, go-redis would not try for a second.
func TestFirstRequestAfterOutage(t *testing.T) {
	t.Parallel()
	p := startPrivate(t)
	b := openBackend(t, redis.Config{Options: &redis.Options{Addr: p.Addr, PoolSize: 2}})
	ctx := context.Background()
	p.Kill()
	for range 5 {
		_, _, err := b.Load(ctx, "a00")
		require.ErrorContains(t, err, "connection refused")
	}
	p.Start(t)
	for range 20 {
		_, _, err := b.Load(ctx, "a00")
		require.NoError(t, err)
	}
}

// A lost answer is not an error, and what was written once is not lost.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	p, config := proxied(t)
	store := openStore(t, config)

	require.NoError(t, store.Save(ctx, session.NewBaseSessionWithData("abc", session.GobEncoder, noID, session.Data{"n": 0})))
	for n := 1; n < 20; n++ {
		s, err := store.Read(ctx, "abc")
		require.NoError(t, err)
		require.Equal(t, n-1, s.Get("n"))
		s.Set("n", n)
		var lost *tcpproxy.Event
		if n > 1 { // before that the server does not have the script, and says so
			lost = p.Lose()
		}
		require.NoError(t, store.Save(ctx, s))
		require.True(t, lost == nil || lost.Happened())
	}
}

func TestDeadline(t *testing.T) {
	p, muted := proxied(t)
	muted.Options.ReadTimeout = time.Minute // of which nobody waits for the end

	// A server that accepts connections and never answers a handshake.
	tlsProxy, secure := proxiedByTLS(t)
	secure.Options.MaxConnAge = time.Nanosecond // so the pool dials for every command
	secure.Options.DialTimeout = time.Minute

	// A dialer that heeds no context.
	slow := testConfig(t)
	var late atomic.Bool
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	slow.Options.MaxConnAge = time.Nanosecond
	slow.Options.Dialer = func(_ context.Context, network, addr string) (net.Conn, error) {
		if late.Load() {
			<-end
		}
		return net.Dial(network, addr)
	}
	shared := slow
	shared.Client = bare(t, slow.Options)

	// A greeting that ends with its context.
	greeting := testConfig(t)
	greeting.Options.MaxConnAge = time.Nanosecond
	greeting.Options.OnConnect = func(ctx context.Context, _ *goredis.Conn) error {
		if late.Load() {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-end:
			}
		}
		return nil
	}

	backends := map[string]session.Backend{
		"no answer":          openBackend(t, muted),
		"no handshake":       openBackend(t, secure),
		"slow dialer":        openBackend(t, slow),
		"slow shared dialer": openBackend(t, shared),
		"slow greeting":      openBackend(t, greeting),
	}
	p.Set(tcpproxy.Mute)
	tlsProxy.Set(tcpproxy.Hang)
	late.Store(true)

	for name, b := range backends {
		for op, call := range backendtest.Operations(b) {

			t.Run(name+"/"+op, func(t *testing.T) {
				t.Parallel()
				require.Error(t, within(t, 3*time.Second, func() error { return call(deadline(t, 200*time.Millisecond)) }))
				for _, parent := range []context.Context{context.Background(), deadline(t, 2*time.Second)} {
					canceled, cancel := context.WithCancel(parent)
					time.AfterFunc(100*time.Millisecond, cancel)
					require.ErrorIs(t, within(t, 3*time.Second, func() error { return call(canceled) }), context.Canceled)
				}
			})
		}
	}
}

// Whoever waits for a connection need not wait for a deadline once canceled, nor
// beyond it because those who have the connections have none.
func TestDeadlineOfWaiting(t *testing.T) {
	t.Parallel()
	p, config := proxied(t)
	config.Options.ReadTimeout, config.Options.PoolSize = time.Minute, 1
	for name, holder := range map[string]context.Context{
		"behind a deadline": deadline(t, 10*time.Second),
		"behind none":       context.Background(),
	} {
		b := openBackend(t, config)
		p.Set(tcpproxy.Mute)
		before := p.Trips()
		ctx, cancelHolder := context.WithCancel(holder)
		t.Cleanup(cancelHolder)
		go b.Load(ctx, "abc")
		require.Eventually(t, func() bool { return p.Trips() > before }, 5*time.Second, time.Millisecond)
		for op, call := range map[string]func(context.Context) error{
			"load":   func(ctx context.Context) error { _, _, err := b.Load(ctx, "abc"); return err },
			"delete": func(ctx context.Context) error { return b.Delete(ctx, "abc") },
		} {
			t.Run(name+"/"+op, func(t *testing.T) {
				canceled, cancel := context.WithTimeout(context.Background(), time.Minute)
				time.AfterFunc(100*time.Millisecond, cancel)
				require.ErrorIs(t, within(t, 3*time.Second, func() error { return call(canceled) }), context.Canceled)
				err := within(t, 3*time.Second, func() error { return call(deadline(t, 200*time.Millisecond)) })
				require.ErrorIs(t, err, context.DeadlineExceeded)
			})
		}
		p.Set(tcpproxy.Pass)
	}
}

// However many handshakes hang, the first operation after that goes through.
func TestHandshakesThatHang(t *testing.T) {
	t.Parallel()
	p, config := proxiedByTLS(t)
	config.Options.PoolSize, config.Options.MaxConnAge = 2, time.Nanosecond
	config.Options.DialTimeout = 500 * time.Millisecond
	b := openBackend(t, config)

	p.Set(tcpproxy.Hang)
	require.NoError(t, within(t, 3*time.Second, func() error {
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_, _, err := b.Load(deadline(t, 300*time.Millisecond), "abc")
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			})
		}
		wg.Wait()
		return nil
	}))
	p.Set(tcpproxy.Pass)
	for range 5 {
		_, _, err := b.Load(deadline(t, 5*time.Second), "abc")
		require.NoError(t, err)
	}

	// And where there is time for a second one, the operation itself does.
	p.Set(tcpproxy.Hang)
	time.AfterFunc(100*time.Millisecond, func() { p.Set(tcpproxy.Pass) })
	_, _, err := b.Load(deadline(t, 5*time.Second), "abc")
	require.NoError(t, err)
}

// deadNameServer is the address that all names are asked for at, if there is one.
var deadNameServer atomic.Pointer[string]

func init() {
	net.DefaultResolver.PreferGo = true
	net.DefaultResolver.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dead := deadNameServer.Load(); dead != nil {
			network, addr = "udp", *dead
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
}

// A name server that never answers takes no longer either.
func TestDeadlineOfLookup(t *testing.T) {
	dead, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer dead.Close()
	addr := dead.LocalAddr().String()
	deadNameServer.Store(&addr)
	defer deadNameServer.Store(nil)
	err = within(t, 3*time.Second, func() error {
		config := redis.Config{Options: &redis.Options{Addr: "redis.example:6379", DialTimeout: time.Minute}}
		_, _, err := redis.Open(deadline(t, 300*time.Millisecond), config)
		return err
	})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// An operation that has no more time makes no further attempt, which would cost more
// time and one more connection each.
func TestNothingAfterDeadline(t *testing.T) {
	t.Parallel()
	p, config := proxied(t)
	config.Options.PoolSize = 20
	b := openBackend(t, config)
	require.NoError(t, redis.FillPool(deadline(t, 10*time.Second), b))

	p.Set(tcpproxy.Mute)
	best := time.Hour
	for range 5 {
		ctx := deadline(t, 50*time.Millisecond)
		_, err := b.Insert(ctx, "abc", rec("x", time.Minute))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		end, _ := ctx.Deadline()
		best = min(best, time.Since(end))
	}
	assert.Less(t, best, 20*time.Millisecond)
	conns := redis.Conns(b)
	assert.GreaterOrEqual(t, conns, 15)

	// And where there is no time to begin with, none at all.
	for range 5 {
		_, _, err := b.Load(deadline(t, -time.Second), "abc")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, b.Delete(deadline(t, -time.Second), "abc"), context.DeadlineExceeded)
	}
	assert.Equal(t, conns, redis.Conns(b))
}

// Errors that pass are waited for, but not for long.
func TestPassingErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ reply, text string }{
		"loading": {"-LOADING Redis is loading the dataset in memory\r\n", "LOADING the server is loading its data"},
		"full":    {"-ERR max number of clients reached\r\n", "ERR the server has as many clients as it allows"},
	} {
		t.Run(name, func(t *testing.T) {
			reply := test.reply
			instead, config := proxiedInstead(t)
			b := openBackend(t, config)
			for range 3 {
				instead <- reply
			}
			require.NoError(t, b.Delete(deadline(t, 5*time.Second), "abc"))
			require.Empty(t, instead)
			for range 3 {
				instead <- reply
			}
			_, err := b.Swap(deadline(t, 5*time.Second), "abc", nil, rec("x", time.Minute))
			require.NoError(t, err, "the server has done nothing")
			require.Empty(t, instead)
			for range 3 {
				instead <- reply + reply
			}
			_, _, err = b.Load(deadline(t, 5*time.Second), "abc")
			require.NoError(t, err)
			require.Empty(t, instead)
			for range 10 {
				instead <- reply
			}
			require.EqualError(t, b.Delete(deadline(t, 5*time.Second), "abc"), test.text)
			require.Len(t, instead, 6)
		})
	}
}

// The retries are as many as the options say, and a rest ends at the deadline.
func TestRetries(t *testing.T) {
	t.Parallel()
	for most, attempts := range map[int]int{-1: 1, 0: 4, 1: 2, 7: 8} {
		instead, config := proxiedInstead(t)
		config.Options.MaxRetries, config.Options.MinRetryBackoff = most, -1
		b := openBackend(t, config)
		for range 10 {
			instead <- "-LOADING\x20\r\n"
		}
		require.ErrorContains(t, b.Delete(deadline(t, 5*time.Second), "abc"), "LOADING")
		require.Len(t, instead, 10-attempts, "MaxRetries %d", most)
	}

	instead, config := proxiedInstead(t)
	config.Options.MinRetryBackoff, config.Options.MaxRetryBackoff = time.Minute, time.Hour
	b := openBackend(t, config)
	instead <- "-LOADING\x20\r\n"
	err := within(t, 3*time.Second, func() error { return b.Delete(deadline(t, 200*time.Millisecond), "abc") })
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
