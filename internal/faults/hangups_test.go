package faults

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// relay is what the handlers of one session have done.
type relay struct {
	mu     sync.Mutex
	ran    int   // handlers
	batons []int // flashes that handlers have seen
}

// TestHangUps makes 1,000 requests, in the short form 200, with a pool of 5 connections. The client of one in ten hangs up
// while the request runs. The pool is not starved: a request of anybody else is answered within a
// second (p99). What a handler did is stored, once, whether its client has hung up or not: each
// handler adds one to a number of its session, and passes on the flash that it has seen, which is
// one of 0, 1, 2 and so on. Afterwards the pool has all its connections, and no goroutine is left. It
// rests on operations that go on when the context of the request is canceled (package deadline).
func TestHangUps(t *testing.T) {
	requests := rounds(200, 1000)
	const (
		clients  = 32
		sessions = 16
		conns    = 5
	)
	each(t, isSQL, func(t *testing.T, s subject) {
		for _, shared := range []bool{false, true} {
			t.Run(map[bool]string{false: "own pool", true: "shared pool"}[shared], func(t *testing.T) {
				place, address := s.place(t), ""
				if s.remote() {
					address = s.server(t)
				}
				var db *sql.DB
				if shared {
					db = sharedDB(t, s, place, address)
				}
				a := newApp(t, pooled(s.at(place, address), conns, db))
				all := make(map[string]*relay)
				a.Get("/relay", func(s session.Session, flash session.Flash) string {
					r := all[s.ID()]
					r.mu.Lock()
					defer r.mu.Unlock()
					r.ran++
					session.Update(s, "n", func(n int) int { return n + 1 })
					if baton, ok := flash.(int); ok {
						r.batons = append(r.batons, baton)
						s.SetFlash(baton + 1)
					}
					time.Sleep(rand.N(time.Millisecond)) // a moment in which the client may hang up
					return "ok"
				})
				a.Get("/baton", func(s session.Session) string { s.SetFlash(0); return "ok" })
				ids := make([]string, sessions)
				for i := range ids {
					v := a.visitor(t)
					v.ok("/baton")
					ids[i] = v.id
					all[v.id] = new(relay)
				}
				atOnce(many(a, t, ids), func(int) string { return "/relay" }) // opens the connections
				goroutines := runtime.NumGoroutine()

				var typical atomic.Int64 // how long a request takes, about
				typical.Store(int64(2 * time.Millisecond))
				var mu sync.Mutex
				var took []time.Duration // of those who have not hung up
				hungUp := 0
				var next atomic.Int64
				var wg sync.WaitGroup
				for range clients {
					wg.Go(func() {
						for {
							i := next.Add(1)
							if i > int64(requests) {
								return
							}
							ctx, cancel := context.WithCancel(t.Context())
							if i%10 == 0 {
								time.AfterFunc(rand.N(time.Duration(typical.Load())*3/2), cancel)
							}
							begun := time.Now()
							status := visitUntil(ctx, a, ids[rand.IntN(sessions)], "/relay")
							d := time.Since(begun)
							gone := ctx.Err() != nil
							cancel()
							typical.Store((7*typical.Load() + int64(d)) / 8)
							mu.Lock()
							if gone {
								hungUp++
							} else {
								took = append(took, d)
								if status != http.StatusOK {
									t.Errorf("a request whose client has not hung up is answered by %d", status)
								}
							}
							mu.Unlock()
						}
					})
				}
				wg.Wait()
				require.Empty(t, a.TakeErrors())

				ran := 0
				for id, r := range all {
					seen := a.with(t, id).see()
					require.Equal(t, strconv.Itoa(r.ran), seen["n"], "a commit is lost or doubled")
					for i, baton := range r.batons {
						require.Equal(t, i, baton, "a flash is lost or seen twice: %v", r.batons)
					}
					require.Equal(t, strconv.Itoa(len(r.batons)), seen["flash"], "the flash is lost")
					ran += r.ran
				}
				require.GreaterOrEqual(t, ran, sessions+len(took))
				slices.Sort(took)
				p99 := took[len(took)*99/100]
				limit := time.Second
				if !full() {
					limit = 10 * time.Second
				}
				require.Less(t, p99, limit)

				if shared {
					require.Eventually(t, func() bool { return db.Stats().InUse == 0 }, 5*time.Second, 10*time.Millisecond)
					takeAllConns(t, db, conns)
				} else if isSQLServer(s) {
					holdAllButOne(t, s, place, a, ids[:conns])
				}
				require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+conns },
					10*time.Second, 10*time.Millisecond, "goroutines are left")
				figure(t, "%d requests, %d clients hung up, of whose requests %d were made; p99 of the others %d ms, none lost or doubled",
					requests, hungUp, ran-sessions-len(took), p99.Milliseconds())
			})
		}
	})
}

// visitUntil is visit for a client that hangs up when the context is done.
func visitUntil(ctx context.Context, a *app, id, path string) (status int) {
	r := httptest.NewRequest(http.MethodGet, path, nil).WithContext(ctx)
	r.AddCookie(&http.Cookie{Name: cookieName, Value: id})
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w.Code
}

// sharedDB is a pool of the app, with the settings of docs/scaling.md.
func sharedDB(t *testing.T, s subject, place, address string) *sql.DB {
	switch s.name {
	case "sqlite":
		db, err := sql.Open("sqlite", filepath.Join(place, "sessions.db")+
			"?_pragma=busy_timeout(1000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
		require.NoError(t, err)
		t.Cleanup(func() { _ = db.Close() })
		return db
	case "mysql":
		address += "?readTimeout=5s&innodb_lock_wait_timeout=1"
	}
	return sqlKinds[s.name].open(t, address)
}

// takeAllConns takes all connections of a pool at the same time, which is possible only if all have
// been given back.
func takeAllConns(t *testing.T, db *sql.DB, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range n {
		c, err := db.Conn(ctx)
		require.NoError(t, err, "a connection was not given back")
		defer func() { _ = c.Close() }()
		require.NoError(t, c.PingContext(ctx))
	}
}

// holdAllButOne has all connections but one wait for the locked rows of the first sessions. A visit
// of the last session is answered meanwhile, which takes the one connection that is left.
func holdAllButOne(t *testing.T, s subject, place string, a *app, ids []string) {
	t.Helper()
	k := sqlKinds[s.name]
	server := &sqlServer{sqlKind: k, t: t, db: k.open(t, s.server(t))}
	tx, err := server.db.Begin()
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }()
	locked, free := ids[:len(ids)-1], ids[len(ids)-1]
	for _, id := range locked {
		_, err := tx.Exec("UPDATE " + place + " SET expired_at = expired_at WHERE " + k.key + " = '" + id + "'")
		require.NoError(t, err)
	}
	var wg sync.WaitGroup
	for _, id := range locked {
		wg.Go(func() {
			if status, body := a.with(t, id).visit(set("a", "1")); status != http.StatusOK {
				t.Errorf("after the lock: status %d: %s", status, body)
			}
		})
	}
	server.waitBlocked(len(locked))
	a.with(t, free).ok(set("a", "1"))
	require.NoError(t, tx.Rollback())
	wg.Wait()
}

// many are visitors with the IDs.
func many(a *app, t testing.TB, ids []string) []*visitor {
	all := make([]*visitor, len(ids))
	for i, id := range ids {
		all[i] = a.with(t, id)
	}
	return all
}
