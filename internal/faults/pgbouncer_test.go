package faults

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v4"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/testing/testserver"
)

// TestPgBouncer has a PgBouncer in transaction mode between the app and the server, with the settings of
// docs/scaling.md, and breaks it, and the server behind it, below eight visitors who write. What was answered
// by 200 is there. The first success comes within two seconds of the end of the fault, and each request
// that fails has one error. No request fails for a RELOAD, a RECONNECT or a short PAUSE.
func TestPgBouncer(t *testing.T) {
	const within = 2 * time.Second
	each(t, func(s subject) bool { return s.name == "postgres" }, func(t *testing.T, s subject) {
		server := testserver.DurablePostgres(t)
		bouncer := testserver.PgBouncer(t, server.URL)
		a := newApp(t, s.at(s.place(t), bouncer.URL+"&prefer_simple_protocol=true"))
		for _, fault := range []struct {
			name  string
			fails bool // requests may fail
			do    func()
		}{
			{"PgBouncer killed", true, func() {
				bouncer.Kill(t)
				time.Sleep(time.Second)
				bouncer.Start(t)
			}},
			{"PostgreSQL killed", true, func() {
				server.Kill(t)
				time.Sleep(time.Second)
				server.Start(t)
			}},
			{"RELOAD and RECONNECT", false, func() {
				for range 3 {
					command(t, bouncer.URL, "RELOAD")
					command(t, bouncer.URL, "RECONNECT")
					time.Sleep(1500 * time.Millisecond) // PgBouncer may log in once more, a second later
				}
			}},
			{"PAUSE for 1 s", false, func() {
				command(t, bouncer.URL, "PAUSE")
				time.Sleep(time.Second)
				command(t, bouncer.URL, "RESUME")
			}},
			{"PAUSE for 4 s", true, func() {
				command(t, bouncer.URL, "PAUSE")
				time.Sleep(4 * time.Second)
				command(t, bouncer.URL, "RESUME")
			}},
		} {
			t.Run(fault.name, func(t *testing.T) {
				n, commits, failed := rounds(1, 3), 0, 0
				var all []error
				var worst time.Duration
				for range n {
					more, less, first := whileWriting(t, a, fault.do)
					commits, failed, worst = commits+more, failed+less, max(worst, first)
					errs := a.TakeErrors()
					all = append(all, errs...)
					require.Len(t, errs, less, "errors of the requests that failed")
					noSecrets(t, errs, bouncer.URL, "canary", "UPDATE", "SELECT")
				}
				require.LessOrEqual(t, worst, within)
				if !fault.fails {
					require.Zero(t, failed, "requests fail: %v", all)
				}
				figure(t, "%d times, %d commits answered, 0 lost, %d requests failed; first success after %d ms", n, commits, failed, worst.Milliseconds())
			})
		}
	})
}

// command gives PgBouncer an order of its administrator.
func command(t *testing.T, bouncer, order string) {
	t.Helper()
	u, err := url.Parse(bouncer)
	require.NoError(t, err)
	u.Path = "/pgbouncer"
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, u.String())
	require.NoError(t, err)
	defer func() { _ = c.Close(ctx) }()
	_, err = c.Exec(ctx, order)
	require.NoError(t, err, order)
}

// whileWriting has eight visitors write one number after the other to their sessions, before, while and
// after a fault. It fails if a write is lost that was answered by 200. It returns how many requests were
// answered and how many failed, and when the first one succeeded that began after the fault.
func whileWriting(t *testing.T, a *app, fault func()) (answered, failed int, first time.Duration) {
	t.Helper()
	const visitors = 8
	var over, served atomic.Int64 // in nanoseconds
	stop := make(chan struct{})
	type writer struct {
		*visitor
		asked, answered, failed int
	}
	all := make([]*writer, visitors)
	var wg sync.WaitGroup
	for i, v := range a.visitors(t, visitors) {
		w := &writer{visitor: v}
		all[i] = w
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				begun := time.Now().UnixNano()
				w.asked++
				if status, _ := w.visit(set("n", strconv.Itoa(w.asked))); status != http.StatusOK {
					w.failed++
					time.Sleep(5 * time.Millisecond) // nobody asks again at once
					continue
				}
				w.answered = w.asked
				if end := over.Load(); end != 0 && begun >= end {
					served.CompareAndSwap(0, time.Now().UnixNano())
				}
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	fault()
	over.Store(time.Now().UnixNano())
	for end := time.Now().Add(10 * time.Second); served.Load() == 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond)
	close(stop)
	wg.Wait()
	require.NotZero(t, served.Load(), "nobody is served after the fault")
	for _, w := range all {
		now, err := strconv.Atoi(w.see()["n"])
		require.NoError(t, err)
		require.GreaterOrEqual(t, now, w.answered, "a commit that was answered is lost")
		require.LessOrEqual(t, now, w.asked)
		answered, failed = answered+w.asked-w.failed, failed+w.failed
	}
	return answered, failed, time.Duration(served.Load() - over.Load())
}
