package bench

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flamego/session"
)

// BenchmarkGC has visitors save while half of the rows of a table are removed:
// worst-ms is the longest that one waits, quiet-ms the longest without a GC.
// Next-ms is the GC after that one, for which there is nothing to remove, empty-ms
// one still later: at first a database may come across what is left of dead rows.
func BenchmarkGC(b *testing.B) {
	rows := size(2000, 500_000)
	for _, d := range []*database{sqliteDB, postgresDB, mysqlDB} {
		measured(b, fmt.Sprintf("store=%s/rows=%d", d.name, rows), func(b *testing.B) map[string]float64 {
			return measureGC(b, d, rows)
		})
	}
}

func measureGC(b *testing.B, d *database, rows int) map[string]float64 {
	dsn := d.dsn(b)
	m := must[*session.Manager](b)(session.New(d.options(dsn, "gc")))
	defer m.Close()
	store := m.Store()
	db := d.open(b, dsn)
	defer db.Exec("DROP TABLE gc")

	for _, half := range []struct {
		prefix  string
		seconds int
	}{{"live", 3600}, {"dead", -60}} {
		d.addRows(b, db, "gc", fmt.Sprintf("CONCAT('%s', {n}), '%s', %s",
			half.prefix, strings.Repeat("x", six.size), fmt.Sprintf(d.time, half.seconds)), 0, rows/2)
	}
	count := func(what string) (n int) {
		check(b, db.QueryRow("SELECT COUNT(*) FROM gc WHERE "+what).Scan(&n))
		return n
	}
	const isOld = "data LIKE 'xxx%'"
	if n := count(isOld); n != rows {
		b.Fatalf("the table has %d rows, want %d", n, rows)
	}

	var quiet, during slowest
	visitors := newSavers(b, store)
	visitors.start(&quiet)
	time.Sleep(time.Duration(size(50, 2000)) * time.Millisecond)
	visitors.stop()

	visitors.start(&during)
	start := time.Now()
	err := store.GC(ctx)
	took := time.Since(start)
	visitors.stop()
	check(b, err)
	if n := count(isOld); n != rows/2 {
		b.Fatalf("after the GC %d of the rows are left, want %d", n, rows/2)
	}
	visitors.check()

	var empty slowest
	empty.time(b, func() error { return store.GC(ctx) })
	next := empty.micros(1)
	for range 8 {
		empty.time(b, func() error { return store.GC(ctx) })
	}
	return map[string]float64{
		"gc-ms": millis(took), "next-ms": next / 1000, "empty-ms": empty.micros(0.5) / 1000,
		"worst-ms": during.micros(1) / 1000, "p99-ms": during.micros(0.99) / 1000,
		"quiet-ms": quiet.micros(1) / 1000, "saves": float64(len(during.took)),
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// savers are visitors who save without pause: half of them one session each, the
// others a new one each time.
type savers struct {
	b     *testing.B
	store session.Store
	next  [4]int // the number of the session that a saver saves next, and its value
	done  chan struct{}
	wg    sync.WaitGroup
}

func newSavers(b *testing.B, store session.Store) *savers {
	return &savers{b: b, store: store}
}

// session returns which session a saver writes in its n-th turn.
func (s *savers) session(saver, n int) int {
	if saver%2 == 0 {
		n = 0
	}
	return saver + n*len(s.next)
}

func (s *savers) start(times *slowest) {
	s.done = make(chan struct{})
	for saver := range s.next {
		s.wg.Go(func() {
			for {
				n := s.next[saver]
				s.next[saver]++
				times.time(s.b, func() error {
					return save(s.store, s.session(saver, n), func(v values) { v.Set("turn", n) })
				})
				select {
				case <-s.done:
					return
				default:
				}
			}
		})
	}
}

func (s *savers) stop() {
	close(s.done)
	s.wg.Wait()
}

// check reads what has been saved.
func (s *savers) check() {
	for saver, turns := range s.next {
		for n := range turns {
			if saver%2 == 0 {
				n = turns - 1
			}
			sess := must[session.Session](s.b)(s.store.Read(ctx, sid(s.session(saver, n))))
			if got := sess.Get("turn"); got != n {
				s.b.Fatalf("turn %d of saver %d has saved %v", n, saver, got)
			}
			if saver%2 == 0 {
				break
			}
		}
	}
}
