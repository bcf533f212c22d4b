package redis_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/redis"
)

// proxied starts a proxy, and returns a Config that leads through it.
func proxied(t testing.TB) (*tcpproxy.Proxy, redis.Config) {
	return proxiedBy(t, tcpproxy.Rules{})
}

func proxiedBy(t testing.TB, rules tcpproxy.Rules) (*tcpproxy.Proxy, redis.Config) {
	config := testConfig(t)
	p := tcpproxy.New(t, config.Options.Addr, rules)
	config.Options.Addr = p.Addr()
	return p, config
}

// proxiedByTLS is for a proxy that speaks TLS with the client.
func proxiedByTLS(t testing.TB) (*tcpproxy.Proxy, redis.Config) {
	s := httptest.NewTLSServer(nil)
	t.Cleanup(s.Close)
	p, config := proxiedBy(t, tcpproxy.Rules{Wrap: func(client net.Conn) net.Conn {
		return tls.Server(client, &tls.Config{Certificates: s.TLS.Certificates})
	}})
	config.Options.TLSConfig = &tls.Config{RootCAs: x509.NewCertPool()}
	config.Options.TLSConfig.RootCAs.AddCert(s.Certificate())
	return p, config
}

// proxiedInstead is for a proxy that gives what is in the channel in place of answers.
func proxiedInstead(t testing.TB) (chan string, redis.Config) {
	instead := make(chan string, 10)
	_, config := proxiedBy(t, tcpproxy.Rules{Answer: func(answer []byte) []byte {
		select {
		case other := <-instead:
			return []byte(other)
		default:
			return answer
		}
	}})
	return instead, config
}

// proxiedSlowly is for a proxy whose answers all go through one line, once it is
// told how many bytes of them in a second.
func proxiedSlowly(t testing.TB) (perSecond *atomic.Int64, config redis.Config) {
	perSecond = new(atomic.Int64)
	var line sync.Mutex
	_, config = proxiedBy(t, tcpproxy.Rules{Answer: func(answer []byte) []byte {
		if rate := perSecond.Load(); rate > 0 {
			line.Lock()
			defer line.Unlock()
			time.Sleep(time.Duration(len(answer)) * time.Second / time.Duration(rate))
		}
		return answer
	}})
	return perSecond, config
}
