package mongo_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mongowire"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/internal/testing/webapp"
	"github.com/flamego/session/mongo"
)

func notPrimaryAnswer(code int) bson.D {
	return bson.D{{Key: "ok", Value: 0.0}, {Key: "errmsg", Value: "not primary"}, {Key: "code", Value: code}}
}

// counter is an app that counts the visits of each session.
func counter(t testing.TB, config mongo.Config) *webapp.App {
	app := webapp.New(t, session.Options{Initer: mongo.Initer(), Config: config})
	app.Get("/", func(s session.Session) string {
		n, _ := s.Get("n").(int)
		s.Set("n", n+1)
		return fmt.Sprint(n + 1)
	})
	return app
}

// pooled makes an app with some connections in its pool: so many visitors ask at once, and
// none is answered before all have asked.
func pooled(t testing.TB, conns int) (*tcpproxy.Proxy, *webapp.App, []*webapp.Browser) {
	t.Helper()
	var waiting atomic.Int32
	all := make(chan struct{})
	p, config := ruled(t, tcpproxy.Rules{Read: mongowire.Message, Turn: func(command []byte) func() {
		if mongowire.IsCommand(command, "find") {
			if waiting.Add(1) == int32(conns) {
				close(all)
			}
			<-all
		}
		return func() {}
	}})
	app := counter(t, config)
	browsers := make([]*webapp.Browser, conns)
	var wg sync.WaitGroup
	for i := range browsers {
		browsers[i] = webapp.NewBrowser(t, app)
		require.Equal(t, "1", browsers[i].Get("/").Body.String())
		wg.Go(func() { assert.Equal(t, "2", browsers[i].Get("/").Body.String()) })
	}
	wg.Wait()
	require.GreaterOrEqual(t, p.Conns(), conns)
	return p, app, browsers
}

// All connections die without a word, as behind a balancer. Of ten visits one may fail.
// Not in parallel: what is counted is time.
func TestDeadConnections(t *testing.T) {
	const conns, visits, limit = 16, 10, 12 * time.Second
	visit := func(app *webapp.App, b *webapp.Browser) (failed bool) {
		begun := time.Now()
		w := b.Get("/")
		if took := time.Since(begun); took > limit {
			t.Errorf("a visit took %v", took)
		}
		if w.Code == http.StatusOK {
			return false
		}
		t.Log(app.TakeErrors())
		return true
	}
	t.Run("one after the other", func(t *testing.T) {
		p, app, browsers := pooled(t, conns)
		p.FreezeOpen()
		begun, failed := time.Now(), 0
		for i := range visits {
			if visit(app, browsers[i]) {
				failed++
			}
		}
		t.Logf("%d failed, in %v", failed, time.Since(begun))
		assert.LessOrEqual(t, failed, 1)
		assert.Less(t, time.Since(begun), limit)
	})
	t.Run("at once", func(t *testing.T) {
		p, app, browsers := pooled(t, conns)
		p.FreezeOpen()
		var failed atomic.Int32
		var wg sync.WaitGroup
		begun := time.Now()
		for _, b := range browsers {
			wg.Go(func() {
				if visit(app, b) {
					failed.Add(1)
				}
			})
		}
		wg.Wait()
		t.Logf("%d failed, in %v", failed.Load(), time.Since(begun))
		assert.LessOrEqual(t, int(failed.Load()), 1)
		assert.Less(t, time.Since(begun), limit)
	})
	t.Run("a new visitor", func(t *testing.T) {
		p, app, _ := pooled(t, conns)
		p.FreezeOpen()
		begun := time.Now()
		assert.False(t, visit(app, webapp.NewBrowser(t, app)), "nothing is sent twice, but it is seen that nothing was written")
		assert.Less(t, time.Since(begun), limit)
	})
}

// A document that somebody has locked: others do not notice, and the server does not get
// more and more connections.
func TestStuckDocument(t *testing.T) {
	t.Parallel()
	const clients = 16
	stuck := make(chan struct{})
	var once sync.Once
	free := func() { once.Do(func() { close(stuck) }) }
	t.Cleanup(free) // before the proxy closes
	var canary atomic.Value
	canary.Store("no such ID")
	var held atomic.Int32
	p, config := ruled(t, tcpproxy.Rules{Read: mongowire.Message, Turn: func(command []byte) func() {
		if mongowire.IsCommand(command, "update") && bytes.Contains(command, []byte(canary.Load().(string))) {
			held.Add(1)
			<-stuck
		}
		return func() {}
	}})
	t.Cleanup(free)
	app := counter(t, config)
	victim := webapp.NewBrowser(t, app)
	require.Equal(t, http.StatusOK, victim.Get("/").Code)
	_, sid, _ := strings.Cut(victim.Cookie, "=")
	canary.Store(sid)

	end := time.Now().Add(12 * time.Second)
	var wg sync.WaitGroup
	var failed, done atomic.Int64
	most := 0
	for range clients {
		wg.Go(func() {
			b := webapp.NewBrowser(t, app)
			for ; time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				if w := b.Get("/"); w.Code != http.StatusOK {
					failed.Add(1)
				}
				done.Add(1)
			}
		})
	}
	for time.Now().Before(end) {
		wg.Go(func() {
			b := webapp.NewBrowser(t, app)
			b.Cookie = victim.Cookie
			b.Get("/")
		})
		time.Sleep(250 * time.Millisecond)
		most = max(most, p.Conns())
	}
	wg.Wait()
	t.Logf("%d visits, %d failed, %d updates held, %d connections", done.Load(), failed.Load(), held.Load(), most)
	assert.Zero(t, failed.Load())
	assert.Positive(t, held.Load())
	assert.LessOrEqual(t, most, 2*100)
	free()
}

// New waits for a server that is starting, for its 5 seconds.
func TestStarting(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"refuses connections", "hangs up", "is not the primary"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var starting atomic.Bool
			starting.Store(true)
			p, config := ruled(t, tcpproxy.Rules{Read: mongowire.Message, Answer: func(answer []byte) []byte {
				if kind == "is not the primary" && starting.Load() && !bytes.Contains(answer, []byte("maxWireVersion")) {
					return reply(t, answer, notPrimaryAnswer(13436))
				}
				return answer
			}})
			done := make(chan struct{})
			go func() {
				defer close(done)
				for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
					if kind == "hangs up" {
						p.Cut()
					}
				}
				starting.Store(false)
				if kind == "refuses connections" {
					p.Start(t)
				}
			}()
			if kind == "refuses connections" {
				p.Stop()
			}
			m, err := session.New(session.Options{Initer: mongo.Initer(), Config: config})
			<-done
			require.NoError(t, err)
			require.NoError(t, m.Close())
		})
	}
}
