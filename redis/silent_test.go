package redis_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/internal/testing/webapp"
	"github.com/flamego/session/redis"
)

// counter is an app whose visitors each have a session that counts their visits.
type counter struct {
	*testing.T
	*webapp.App
	b      session.Backend
	before atomic.Pointer[func()] // what happens in the handler of the next visit
}

func newCounter(t *testing.T, config redis.Config) *counter {
	b, sc, err := redis.Open(t.Context(), config)
	require.NoError(t, err)
	c := &counter{T: t, b: b}
	c.App = webapp.New(t, session.Options{
		Initer: session.NewIniter(func(_ context.Context, _ redis.Config) (session.Backend, session.StoreConfig, error) {
			return b, sc, nil
		}),
		Config: config,
	})
	c.Get("/", func(s session.Session) string {
		if f := c.before.Swap(nil); f != nil {
			(*f)()
		}
		n, _ := session.Value[int](s, "n")
		s.Set("n", n+1)
		return fmt.Sprint(n)
	})
	return c
}

// visitors are new visitors, who have been there once.
func (c *counter) visitors(n int) []*webapp.Browser {
	all := make([]*webapp.Browser, n)
	for i := range all {
		all[i] = webapp.NewBrowser(c, c.App)
		require.Equal(c, "0", all[i].Get("/").Body.String())
	}
	return all
}

// again lets everybody come again, and returns how many have seen a 500. Nobody sees
// anything else but the next number.
func (c *counter) again(all []*webapp.Browser, n int, parallel bool) (failed int) {
	var fails atomic.Int64
	var wg sync.WaitGroup
	for _, b := range all {
		visit := func() {
			if w := b.Get("/"); w.Code != http.StatusOK {
				fails.Add(1)
			} else {
				assert.Equal(c, fmt.Sprint(n), w.Body.String())
			}
		}
		if parallel {
			wg.Go(visit)
		} else {
			visit()
		}
	}
	wg.Wait()
	if errs := c.TakeErrors(); errs != nil {
		c.Log(errs)
	}
	return int(fails.Load())
}

const pooled = 16

// A balancer has forgotten all connections: one visit pays for it, and the others do not
// notice.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	for name, proxied := range map[string]func(testing.TB) (*tcpproxy.Proxy, redis.Config){
		"TCP": proxied, "TLS": proxiedByTLS,
	} {
		for _, parallel := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/parallel %v", name, parallel), func(t *testing.T) {
				t.Parallel()
				p, config := proxied(t)
				config.Options.PoolSize = pooled
				c := newCounter(t, config)
				all := c.visitors(10)
				if parallel {
					all = c.visitors(pooled)
				}
				require.NoError(t, redis.FillPool(backendtest.Deadline(t, 10*time.Second), c.b))
				require.Equal(t, pooled, redis.Conns(c.b))
				p.FreezeOpen()
				start := time.Now()
				require.LessOrEqual(t, c.again(all, 1, parallel), len(all)/10)
				require.Less(t, time.Since(start), 12*time.Second)
			})
		}
	}
}

// If that happens between the load and the write, the visit looks what became of the write.
func TestSilentWrite(t *testing.T) {
	t.Parallel()
	p, config := proxied(t)
	config.Options.PoolSize = pooled
	c := newCounter(t, config)
	all := c.visitors(1)
	for n := 1; n <= 2; n++ {
		time.Sleep(2100 * time.Millisecond) // of a record that is younger it says that it does not know
		require.NoError(t, redis.FillPool(backendtest.Deadline(t, 10*time.Second), c.b))
		freeze := p.FreezeOpen
		c.before.Store(&freeze)
		require.Zero(t, c.again(all, n, false))
	}
}

// After a failover all go on, however many connections lead to what is a replica now.
func TestFailover(t *testing.T) {
	t.Parallel()
	for name, shared := range map[string]bool{"own": false, "client of the app": true} {
		for _, parallel := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/parallel %v", name, parallel), func(t *testing.T) {
				t.Parallel()
				first := testserver.StartRedis(t, "--repl-diskless-sync-delay", "0")
				second := testserver.StartRedis(t, "--repl-diskless-sync-delay", "0")
				p := tcpproxy.New(t, first.Addr, tcpproxy.Rules{})
				config := redis.Config{Options: &redis.Options{Addr: p.Addr(), PoolSize: pooled}}
				if shared {
					config.Client = bare(t, config.Options)
				}
				c := newCounter(t, config)
				all := c.visitors(10)
				require.NoError(t, redis.FillPool(backendtest.Deadline(t, 10*time.Second), c.b))

				replicate := func(replica, of *testserver.RedisServer) {
					host, port, _ := strings.Cut(of.Addr, ":")
					replica.MustDo(t, "REPLICAOF", host, port)
				}
				replicate(second, first)
				require.Eventually(t, func() bool {
					return strings.Contains(second.MustDo(t, "INFO", "replication"), "master_link_status:up")
				}, 20*time.Second, 20*time.Millisecond)
				second.MustDo(t, "REPLICAOF", "NO", "ONE")
				replicate(first, second)
				p.MoveTo(second.Addr)
				require.Zero(t, c.again(all, 1, parallel))
				require.Zero(t, c.again(all, 2, parallel))
			})
		}
	}
}

// Neither the options of the app nor what go-redis does are in the way of the defaults.
func TestIdleTime(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	opts := redis.ClientOptions(openBackend(t, config))
	require.Equal(t, 2*time.Minute, opts.IdleTimeout)
	require.Equal(t, 30*time.Second, opts.IdleCheckFrequency)
	require.Equal(t, 2*time.Second, opts.ReadTimeout)
	config.Options.IdleTimeout = time.Hour
	opts = redis.ClientOptions(openBackend(t, config))
	require.Equal(t, time.Hour, opts.IdleTimeout)
}
