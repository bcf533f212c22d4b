package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"github.com/flamego/session"
	_ "modernc.org/sqlite"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func par(b *testing.B, g int, f func(n int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range g {
		wg.Go(func() {
			for {
				n := int(next.Add(1))
				if n > b.N {
					return
				}
				f(n)
			}
		})
	}
	wg.Wait()
}
func BenchmarkZZ(b *testing.B) {
	dir := b.TempDir()
	raw := make([]byte, 285)
	for _, conns := range []int{1, 2, 4, 16} {
		db, _ := sql.Open("sqlite", filepath.Join(dir, fmt.Sprint("raw", conns, ".db"))+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
		db.SetMaxOpenConns(conns)
		db.SetMaxIdleConns(conns)
		db.Exec("CREATE TABLE sessions (key TEXT PRIMARY KEY, data BLOB NOT NULL, expired_at TEXT NOT NULL)")
		db.Exec("CREATE INDEX i ON sessions(expired_at)")
		for i := range 100 {
			db.Exec("INSERT INTO sessions VALUES(?,?,datetime('now','1 hour'))", fmt.Sprintf("session%09d", i), raw)
		}
		get, _ := db.Prepare("SELECT data FROM sessions WHERE key=?")
		put, _ := db.Prepare("UPDATE sessions SET data=? WHERE key=?")
		for _, g := range []int{1, 64} {
			b.Run(fmt.Sprintf("raw%d/get/%d", conns, g), func(b *testing.B) {
				par(b, g, func(n int) {
					var d []byte
					if err := get.QueryRow(fmt.Sprintf("session%09d", n%100)).Scan(&d); err != nil {
						b.Error(err)
					}
				})
			})
			if conns < 2 {
				b.Run(fmt.Sprintf("raw%d/put/%d", conns, g), func(b *testing.B) {
					par(b, g, func(n int) {
						d := make([]byte, 285)
						d[0] = byte(n)
						d[1] = byte(n >> 8)
						if _, err := put.Exec(d, fmt.Sprintf("session%09d", n%100)); err != nil {
							b.Error(err)
						}
					})
				})
			}
		}
	}
	os.Remove("x")
	store := open(b, filepath.Join(dir, "ours.db"))
	data := func() session.Data {
		return session.Data{"user_id": 123, "name": "alice", "admin": false, "csrf": "0123456789abcdef", "visits": int64(42), "seen": time.Now()}
	}
	for i := range 100 {
		store.Save(context.Background(), session.NewBaseSessionWithData(fmt.Sprintf("session%09d", i), nil, nil, data()))
	}
	for _, g := range []int{1, 64} {
		b.Run(fmt.Sprintf("ours/get/%d", g), func(b *testing.B) {
			par(b, g, func(n int) {
				s, err := store.Read(ctx, fmt.Sprintf("session%09d", n%100))
				if err != nil || s.Get("name") != "alice" {
					b.Error(err)
				}
			})
		})
		b.Run(fmt.Sprintf("ours/set/%d", g), func(b *testing.B) {
			par(b, g, func(n int) {
				s, err := store.Read(ctx, fmt.Sprintf("session%09d", n%100))
				if err != nil {
					b.Error(err)
					return
				}
				s.Set("visits", int64(n))
				if err := store.Save(ctx, s); err != nil {
					b.Error(err)
				}
			})
		})
	}
}
