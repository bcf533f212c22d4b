package faults

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/testing/testserver"
)

// role is what a client of a server that is killed does all the time.
type role struct {
	begin string // the path of the first request
	write func(*killedClient) (ok bool)
	// bounds returns the least and the most that the number of the client may be in the end. It is
	// nil for a role that has no number.
	bounds func(*killedClient) (least, most int)
}

var (
	// A setter writes the next number.
	setter = role{
		begin: "/set?n=0",
		write: func(c *killedClient) bool {
			c.asked++
			status, _ := c.visit(set("n", strconv.Itoa(c.asked)))
			if status == http.StatusOK {
				c.answered = c.asked
			}
			return status == http.StatusOK
		},
		bounds: func(c *killedClient) (least, most int) { return c.answered, c.asked },
	}
	// An adder adds one to the number that is stored.
	adder = role{
		begin: "/add?n",
		write: func(c *killedClient) bool {
			status, _ := c.visit("/add?n")
			return status == http.StatusOK
		},
		bounds: func(c *killedClient) (least, most int) { return 1 + c.made, 1 + c.made + c.doubtful },
	}
	// A leaver gives an ID up, for a new one or by a logout. Without an ID it begins a session, as
	// a visitor without one can do the rest even when there is no server.
	leaver = role{
		begin: "/set?a=1",
		write: func(c *killedClient) bool {
			old := c.id
			path := "/set?a=1"
			if old != "" {
				path = []string{"/renew", "/renew", "/logout"}[len(c.gone)%3]
			}
			status, _ := c.visit(path)
			if status == http.StatusOK && c.id != old && old != "" {
				c.gone = append(c.gone, old)
			}
			return status == http.StatusOK
		},
	}
)

// killedClient is a visitor who writes all the time, and remembers what was promised.
type killedClient struct {
	*visitor
	role

	asked, answered int      // by a setter: the last number that was sent, and the last that was answered by 200
	made, doubtful  int      // writes that were answered by 200, and by 500
	gone            []string // IDs that were given up, by a request that was answered by 200
}

// check compares what is stored with what was promised.
func (c *killedClient) check(t *testing.T, a *app) {
	t.Helper()
	if c.bounds != nil {
		now, err := strconv.Atoi(c.see()["n"])
		require.NoError(t, err)
		least, most := c.bounds(c)
		require.GreaterOrEqual(t, now, least, "a commit that was answered is lost")
		require.LessOrEqual(t, now, most, "a commit is made twice")
	}
	for _, id := range c.gone {
		require.False(t, a.Store().Exist(t.Context(), id), "an ID that was given up is alive")
	}
}

// killed is what has been counted of kills.
type killed struct {
	made, doubtful, gone int           // see killedClient
	first                time.Duration // from the return of Start to the first success, at worst
}

// TestKilledServer kills the server below eight clients who write, and starts it again 1.5 s later.
// Nothing succeeds in the second half of that time. The first success comes within 2 s (15 s in the short
// form) of Start returning, and no request that begins after Start has returned fails. What was
// answered by 200 is there: no number is lost or counted twice, nobody who logged out is logged
// in, and an ID that was given up is dead.
// It rests on further tries on new connections, and on the look at what became of a write whose
// answer was lost (internal/commit/lost.go).
func TestKilledServer(t *testing.T) {
	beside(t)
	within := 2 * time.Second
	if !full() {
		within = 15 * time.Second // the machine may be busy
	}
	each(t, subject.remote, func(t *testing.T, s subject) {
		server := s.durable(t)
		a := newApp(t, s.at(s.place(t), server.URL))
		var all killed
		n := rounds(1, 3)
		for range n {
			all.round(t, a, server, within)
		}
		figure(t, "%d kills, %d commits answered, 0 lost, %d IDs given up, 0 alive, %d requests failed while it was down, 0 later; first success %d ms after the server served",
			n, all.made, all.gone, all.doubtful, all.first.Milliseconds())
	})
}

// round kills the server once, and adds what it has counted.
func (k *killed) round(t *testing.T, a *app, server *testserver.Durable, within time.Duration) {
	t.Helper()
	const down = 1500 * time.Millisecond
	var all []*killedClient
	for range 2 {
		for _, r := range []role{setter, setter, adder, leaver} {
			c := &killedClient{visitor: a.visitor(t), role: r}
			c.ok(r.begin)
			all = append(all, c)
		}
	}
	// The server is up, being killed, down, being started, and up again from the return of Start.
	const (
		ending = iota
		isDown
		starting
		isUp
	)
	var state atomic.Int64
	var first atomic.Int64     // when the first request succeeded after the return of Start
	var whileDown atomic.Int64 // requests that began and succeeded while it was down
	var late atomic.Int64      // requests that began after the return of Start, and failed
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				begun := state.Load()
				ok := c.write(c)
				ended, now := state.Load(), time.Now()
				if ok {
					c.made++
				} else {
					c.doubtful++
				}
				switch {
				case ok && ended == isUp:
					first.CompareAndSwap(0, now.UnixNano())
				case ok && begun == isDown && ended == isDown:
					whileDown.Add(1)
				case !ok && begun == isUp:
					late.Add(1)
				}
			}
		})
	}
	time.Sleep(200*time.Millisecond + rand.N(200*time.Millisecond))
	server.Kill(t)
	time.Sleep(down / 2) // processes of PostgreSQL work on until they notice that the first of them is gone
	state.Store(isDown)
	time.Sleep(down / 2)
	state.Store(starting)
	server.Start(t)
	served := time.Now()
	state.Store(isUp)
	for first.Load() == 0 && time.Since(served) < within {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(300 * time.Millisecond) // and they go on
	close(stop)
	wg.Wait()

	require.NotZero(t, first.Load(), "nobody is served %v after the restart", within)
	took := time.Duration(first.Load() - served.UnixNano())
	require.LessOrEqual(t, took, within)
	errs := a.TakeErrors()
	require.Zero(t, late.Load(), "requests failed that began after the restart: %v", errs)
	require.Zero(t, whileDown.Load(), "requests succeed while the server is down")
	doubtful, gone := 0, 0
	for _, c := range all {
		c.check(t, a)
		doubtful, gone, k.made = doubtful+c.doubtful, gone+len(c.gone), k.made+c.made
	}
	require.Positive(t, doubtful, "nobody has noticed that the server was down")
	require.Positive(t, gone, "nobody has given up an ID")
	require.Len(t, errs, doubtful, "each failed request has one error")
	noSecrets(t, errs, "canary") // the password
	k.doubtful, k.gone, k.first = k.doubtful+doubtful, k.gone+gone, max(k.first, took)
}
