package sqltest

import (
	"crypto/md5" //nolint:gosec // spreads the rows over the index
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flamego/session"
)

// BenchOwners measures lists, and saves on a table with owners beside one without, in blocks
// in any order, so that noise hits both alike. It has a million rows with BENCH_OWNERS=1, else
// a few, and 5 rows for each owner. It is here and not in internal/bench, which reaches no
// backend.
func (env *Env) BenchOwners(b *testing.B, number string) {
	rows, saves, lists := 2_000, 1_000, 100
	if os.Getenv("BENCH_OWNERS") == "1" {
		rows, saves, lists = 1_000_000, 60_000, 5_000
	}
	var figures map[string]float64
	b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
		if figures == nil {
			figures = env.measureOwners(b, rows, saves, lists, number)
		}
		b.ReportMetric(0, "ns/op") // none
		for unit, figure := range figures {
			b.ReportMetric(figure, unit)
		}
	})
}

// benchTable is a table that is measured.
type benchTable struct {
	*Table
	b      session.Backend
	owners int // 0 for none

	mu    sync.Mutex
	turns map[int]int // how often a row was saved
}

const benchData = 285 // bytes, as a session of six values

func dataOf(turn int) []byte {
	return []byte(fmt.Sprintf("%08d", turn) + strings.Repeat("x", benchData-8))
}

func benchID(i int) string               { return fmt.Sprintf("%x", md5.Sum(fmt.Append(nil, i))) }
func (t *benchTable) owner(i int) string { return fmt.Sprint("user", i%t.owners) }

func (env *Env) newBenchTable(b *testing.B, rows, owners int, number string) *benchTable {
	b.Helper()
	tab := env.New(b).Init()
	t := &benchTable{Table: tab, b: tab.Backend(), owners: owners, turns: make(map[int]int)}
	column, value := "", ""
	if owners > 0 {
		tab.check(t.b.(session.OwnerIniter).InitOwners(ctx))
		column, value = ", owner", fmt.Sprintf(", CONCAT('user', "+number+")", fmt.Sprintf("n.i %% %d", owners))
	}
	const batch = 1000 // as an old MariaDB recurses no deeper
	tab.Exec(fmt.Sprintf(`INSERT INTO %%T (%%k, %%d, %%e%s)
		WITH RECURSIVE a(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM a WHERE i < %d),
		n(i) AS (SELECT x.i * %d + y.i FROM a x CROSS JOIN a y WHERE x.i < %d)
		SELECT MD5(%s), '%s', %%(3600)%s FROM n`,
		column, batch-1, batch, rows/batch, fmt.Sprintf(number, "n.i"), dataOf(0), value))
	if n := tab.Scalar("SELECT COUNT(*) FROM %T"); n != int64(rows) {
		b.Fatalf("%d rows, want %d", n, rows)
	}
	tab.Exec(tab.Analyze)
	return t
}

// save swaps a row that nobody else swaps meanwhile.
func (t *benchTable) save(i int) {
	t.mu.Lock()
	turn := t.turns[i]
	t.turns[i]++
	t.mu.Unlock()
	rec := session.Record{Data: dataOf(turn + 1), TTL: time.Hour}
	if t.owners > 0 {
		rec.Owner = t.owner(i)
	}
	if ok, err := t.b.Swap(ctx, benchID(i), dataOf(turn), rec); !ok || err != nil {
		t.Errorf("save %d: %t, %v", i, ok, err)
	}
}

// saveAll saves rows in some goroutines, and returns how long it takes for each row.
func (t *benchTable) saveAll(rows []int, goroutines int) time.Duration {
	var wg sync.WaitGroup
	begun := time.Now()
	for g := range goroutines {
		wg.Go(func() {
			for n := g; n < len(rows); n += goroutines {
				t.save(rows[n])
			}
		})
	}
	wg.Wait()
	return time.Since(begun) / time.Duration(len(rows))
}

func micros(took []time.Duration, q float64) float64 {
	took = slices.Sorted(slices.Values(took))
	return float64(took[int(q*float64(len(took)-1))].Nanoseconds()) / 1000
}

func (env *Env) measureOwners(b *testing.B, rows, saves, lists int, number string) map[string]float64 {
	// The second one without owners shows how much of a ratio is noise.
	tables := []*benchTable{
		env.newBenchTable(b, rows, 0, number), env.newBenchTable(b, rows, 0, number), env.newBenchTable(b, rows, rows/5, number),
	}
	owned := tables[2]
	figures := make(map[string]float64)
	random := rand.New(rand.NewPCG(1, 2))
	for _, goroutines := range []int{16, 1, 16} { // what the first one finds is cold, and is replaced
		chosen := make([]int, saves)
		for i := range chosen {
			chosen[i] = random.IntN(rows)
		}
		slices.Sort(chosen) // no row twice
		chosen = slices.Compact(chosen)
		random.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
		var took [3][]time.Duration
		for block := range slices.Chunk(chosen, 50*goroutines) {
			for _, i := range random.Perm(len(tables)) {
				took[i] = append(took[i], tables[i].saveAll(block, goroutines))
			}
		}
		at := fmt.Sprintf("-at-%d", goroutines)
		plain := micros(took[0], 0.5)
		figures["plain-us"+at] = plain
		figures["control"+at], figures["owned"+at] = micros(took[1], 0.5)/plain, micros(took[2], 0.5)/plain
	}
	var took []time.Duration
	for range lists {
		i := random.IntN(rows)
		begun := time.Now()
		list, err := owned.b.(session.OwnerIndex).Owned(ctx, owned.owner(i))
		took = append(took, time.Since(begun))
		found := slices.ContainsFunc(list, func(r session.OwnedRecord) bool { return r.ID == benchID(i) })
		if err != nil || len(list) != 5 || !found {
			b.Fatalf("%s has %d records, its own: %t, %v", owned.owner(i), len(list), found, err)
		}
	}
	figures["list-us"], figures["list-p99-us"] = micros(took, 0.5), micros(took, 0.99)
	return figures
}
