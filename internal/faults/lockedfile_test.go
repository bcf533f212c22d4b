package faults

import (
	"database/sql"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/testing/child"
)

// lockFile holds the lock of a database for as long as the environment says. A file says that it
// is held.
func lockFile(t *testing.T, path string) {
	t.Helper()
	held, err := time.ParseDuration(os.Getenv("FAULTS_HELD"))
	require.NoError(t, err)
	db, err := sql.Open("sqlite", path+"?_txlock=immediate&_pragma=busy_timeout(5000)")
	require.NoError(t, err)
	defer db.Close()
	tx, err := db.Begin()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path+".held", nil, 0o600))
	time.Sleep(held)
	require.NoError(t, tx.Rollback())
	require.NoError(t, os.Remove(path+".held"))
}

const secret = "secretvalue"

// TestLockedFile has another process hold the lock of the database. What only reads goes on. What
// writes waits, and fails after Options.Timeout with an error that says why; or succeeds, if the
// lock is gone before, as soon as it is gone. It rests on connections that only read beside the one
// that writes, and on tries that go on while the error is of the class Locked (internal/sqlstore).
func TestLockedFile(t *testing.T) {
	each(t, func(s subject) bool { return s.name == "sqlite" }, func(t *testing.T, s subject) {
		if path := os.Getenv("FAULTS_LOCK"); path != "" {
			lockFile(t, path)
			return
		}
		type locked struct {
			held, timeout time.Duration
			visitors      int
		}
		grace := 3 * time.Second
		cases := []locked{{2500 * time.Millisecond, time.Second, 64}, {2 * time.Second, 5 * time.Second, 1}}
		if full() {
			grace = 2 * time.Second
			cases = nil
			for _, held := range []time.Duration{10 * time.Second, 2 * time.Second} {
				cases = append(cases, locked{held, 5 * time.Second, 1}, locked{held, 5 * time.Second, 64})
			}
		}
		for _, c := range cases {
			held, timeout, visitors := c.held, c.timeout, c.visitors
			place := s.place(t)
			opts := s.at(place, "")
			opts.Timeout = timeout
			a := newApp(t, opts)
			file := filepath.Join(place, "sessions.db")
			locked := func() bool { _, err := os.Stat(file + ".held"); return err == nil }
			writers, readers := make([]*visitor, visitors), make([]*visitor, 4)
			for _, all := range [][]*visitor{writers, readers} {
				for i := range all {
					all[i] = a.visitor(t)
					all[i].ok(set("a", "1"))
				}
			}
			p := child.StartOnly(t, nil, "FAULTS_LOCK="+file, "FAULTS_HELD="+held.String())
			require.Eventually(t, locked, 20*time.Second, time.Millisecond)

			var mu sync.Mutex
			var worst, worstRead time.Duration
			var first, gone time.Time
			failed, read := 0, 0
			var wg sync.WaitGroup
			for _, v := range writers {
				wg.Go(func() {
					for n := 0; ; n++ {
						path := []string{set("b", secret), "/renew", "/add?n"}[n%3]
						begun := time.Now()
						status, body := v.visit(path)
						took := time.Since(begun)
						mu.Lock()
						worst = max(worst, took)
						switch status {
						case http.StatusInternalServerError:
							failed++
						case http.StatusOK:
							if first.IsZero() {
								first = time.Now()
							}
						default:
							t.Errorf("status %d: %s", status, body)
						}
						done := !gone.IsZero()
						mu.Unlock()
						if done {
							return
						}
					}
				})
			}
			for _, v := range readers {
				wg.Go(func() {
					for locked() {
						begun := time.Now()
						if status, body := v.visit("/get"); status != http.StatusOK || !strings.Contains(body, `"a":"1"`) {
							t.Errorf("a visitor who reads: status %d: %s", status, body)
						}
						mu.Lock()
						worstRead, read = max(worstRead, time.Since(begun)), read+1
						mu.Unlock()
					}
				})
			}
			for locked() {
				time.Sleep(time.Millisecond)
			}
			mu.Lock()
			gone = time.Now()
			mu.Unlock()
			wg.Wait()
			p.Wait()
			errs := a.TakeErrors()
			require.Len(t, errs, failed)
			why := 0
			for _, err := range errs {
				require.ErrorContains(t, err, "context deadline exceeded")
				require.ErrorContains(t, err, "session: sqlite: ")
				if strings.Contains(err.Error(), "somebody else held a lock") {
					why++
				}
			}
			require.Equal(t, failed, why, "errors that do not say why: %v", errs)
			noSecrets(t, errs, place, secret)
			require.False(t, first.IsZero(), "nobody is served after the lock is gone")
			after := max(0, first.Sub(gone))
			require.LessOrEqual(t, worst, timeout+grace)
			require.LessOrEqual(t, after, grace)
			require.Equal(t, held > timeout, failed > 0, "%d requests failed", failed)
			for _, v := range writers {
				require.Equal(t, "1", v.see()["a"])
				v.ok(set("a", "2"))
			}
			require.Empty(t, a.TakeErrors())
			figure(t, "locked for %v, %d visitors who write: %d requests failed, the slowest after %.2f s with a Timeout of %v; first success %d ms after the lock was gone; %d reads meanwhile, the slowest %d ms",
				held, visitors, failed, worst.Seconds(), timeout, after.Milliseconds(), read, worstRead.Milliseconds())
		}
	})
}
