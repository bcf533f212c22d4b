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
)

// killedClient is a visitor who writes all the time, and remembers what was promised.
type killedClient struct {
	*visitor
	write func(*killedClient) (ok bool)

	asked, answered int      // by setNext: the last number that was sent, and the last that was answered by 200
	made, doubtful  int      // writes that were answered by 200, and by 500
	gone            []string // IDs that were given up, by a request that was answered by 200
}

// setNext writes the next number.
func setNext(c *killedClient) bool {
	c.asked++
	status, _ := c.visit(set("n", strconv.Itoa(c.asked)))
	if status == http.StatusOK {
		c.answered = c.asked
	}
	return status == http.StatusOK
}

// addOne adds one to what is stored.
func addOne(c *killedClient) bool {
	status, _ := c.visit("/add?n")
	return status == http.StatusOK
}

// giveUp gives an ID up, for a new one or by a logout.
func giveUp(c *killedClient) bool {
	old := c.id
	path := []string{"/renew", "/renew", "/logout", "/set?a=1"}[(c.made+c.doubtful)%4]
	status, _ := c.visit(path)
	if status == http.StatusOK && c.id != old && old != "" {
		c.gone = append(c.gone, old)
	}
	return status == http.StatusOK
}

// TestKilledServer kills the server below eight clients who write, and starts it again 1.5 s later.
// The first success comes within two seconds of the server serving, no request that begins after
// that fails, and what was answered by 200 is there: no number is lost or counted twice, nobody
// who logged out is logged in, and an ID that was given up is dead.
func TestKilledServer(t *testing.T) {
	const (
		clients = 8
		down    = 1500 * time.Millisecond
	)
	within := 2 * time.Second
	if !full() {
		within = 15 * time.Second // the machine may be busy
	}
	each(t, subject.remote, func(t *testing.T, s subject) {
		server := s.durable(t)
		a := newApp(t, s.at(s.place(t), server.URL))
		var worst time.Duration
		made, doubtful, gone := 0, 0, 0
		n := rounds(1, 3)
		for range n {
			all := make([]*killedClient, clients)
			for i := range all {
				all[i] = &killedClient{visitor: a.visitor(t), write: []func(*killedClient) bool{setNext, addOne, giveUp, setNext}[i%4]}
				if i%4 == 1 {
					all[i].ok("/add?n")
					all[i].made++
				} else {
					all[i].ok("/set?n=0")
				}
			}
			var up, first atomic.Int64 // when the server served again, and the first success after that
			var late atomic.Int64      // requests that began after that and failed
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
						begun := up.Load() != 0
						ok := c.write(c)
						switch now := time.Now().UnixNano(); {
						case ok && up.Load() != 0:
							first.CompareAndSwap(0, now)
						case !ok && begun:
							late.Add(1)
						}
						if ok {
							c.made++
						} else {
							c.doubtful++
						}
					}
				})
			}
			time.Sleep(200*time.Millisecond + rand.N(200*time.Millisecond))
			server.Kill(t)
			time.Sleep(down)
			server.Start(t)
			served := time.Now()
			up.Store(served.UnixNano())
			for first.Load() == 0 && time.Since(served) < within {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(300 * time.Millisecond) // and they go on
			close(stop)
			wg.Wait()

			require.NotZero(t, first.Load(), "nobody is served %v after the restart", within)
			worst = max(worst, time.Duration(first.Load()-up.Load()))
			errs := a.TakeErrors()
			require.Zero(t, late.Load(), "requests failed that began after the restart: %v", errs)
			failed := 0
			for i, c := range all {
				failed += c.doubtful
				if i%4 != 2 {
					now, err := strconv.Atoi(c.see()["n"])
					require.NoError(t, err)
					least, most := c.answered, c.asked
					if i%4 == 1 {
						least, most = c.made, c.made+c.doubtful
					}
					require.GreaterOrEqual(t, now, least, "a commit that was answered is lost")
					require.LessOrEqual(t, now, most)
				}
				for _, id := range c.gone {
					require.False(t, a.Store().Exist(t.Context(), id), "an ID that was given up is alive")
				}
				made, gone = made+c.made, gone+len(c.gone)
			}
			doubtful += failed
			require.Len(t, errs, failed, "each failed request has one error")
			noSecrets(t, errs, "canary") // the password
		}
		require.LessOrEqual(t, worst, within)
		figure(t, "%d kills, %d commits answered, 0 lost, %d IDs given up, 0 alive, %d requests failed while it was down, 0 later; first success %d ms after the server served",
			n, made, gone, doubtful, worst.Milliseconds())
	})
}
