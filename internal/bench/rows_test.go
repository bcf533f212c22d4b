package bench

import (
	"crypto/md5"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"modernc.org/sqlite"

	"github.com/flamego/session"
)

// crowded is a store with many sessions. Those of scs and of the bare driver are the
// same ones.
type crowded struct {
	subjects []crowdedSubject
	most     int // sessions
	// add adds sessions by the driver, in bulk: through a library it would take minutes.
	add func(from, to int)
}

// crowdedSubject is a subject that is asked for any one of many sessions.
type crowdedSubject interface {
	name() string
	// key returns what the n-th session is asked for by.
	key(n int) string
	// visiting returns a function that makes the requests of a case.
	visiting(c string) func(key string) error
}

const (
	rowSeconds = 24 * 3600 // so that none expires
	rowTime    = rowSeconds * time.Second
	mostRows   = 1_000_000
)

// BenchmarkRows has one visitor after the other read or set a key of a session, any one
// of many. The rows are added once for all samples, of which there are BENCH_SAMPLES.
func BenchmarkRows(b *testing.B) {
	samples, _ := strconv.Atoi(os.Getenv("BENCH_SAMPLES"))
	for _, st := range stores {
		b.Run("store="+st.name, func(b *testing.B) {
			many, filled := st.many(b), 0
			for rows := size(100, 10_000); rows <= size(200, many.most); rows *= size(2, 10) {
				many.add(filled, rows)
				filled = rows
				for range max(samples, 1) {
					for _, c := range []string{caseRead, caseSet} {
						for _, s := range shuffled(many.subjects) {
							anyOf(b, fmt.Sprintf("rows=%d/case=%s/via=%s", rows, c, s.name()), c, rows, s)
						}
					}
				}
			}
		})
	}
}

// anyOf makes requests for sessions that are chosen before.
func anyOf(b *testing.B, name, c string, rows int, s crowdedSubject) {
	visit := s.visiting(c)
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		keys := make([]string, min(b.N, 1<<16))
		for i := range keys {
			keys[i] = s.key(rand.IntN(rows))
		}
		b.ResetTimer()
		for i := range b.N {
			if err := visit(keys[i%len(keys)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func (a *app) key(n int) string { return a.cookie(n) }

func (a *app) visiting(c string) func(key string) error {
	v := newVisitor(a, new(jar), "")
	path, want := pathRead, userName
	if c == caseSet {
		path, want = pathSet, saved
	}
	return func(key string) error {
		v.jar.cookie = key
		return v.get(path, "", want)
	}
}

func (s bare) key(n int) string { return rowToken(n) }

// visiting writes what was read, as scs has to be able to read it.
func (s bare) visiting(c string) func(key string) error {
	return func(key string) error {
		data, found, err := s.driver.get(ctx, key)
		if err == nil && (!found || len(data) < six.size) {
			err = errors.New("a row is not there")
		}
		if err != nil || c == caseRead {
			return err
		}
		return s.driver.set(ctx, key, data, time.Now().Add(rowTime))
	}
}

// The keys of the n-th row: in no order, as IDs come, and of functions that databases
// have as well. That of scs is as long as its tokens.

func rowHash(n int) string {
	sum := md5.Sum([]byte(strconv.Itoa(n)))
	return hex.EncodeToString(sum[:])
}

func rowID(n int) string { return rowHash(n)[:16] }

func rowToken(n int) string {
	hash := rowHash(n)
	return hash + hash[:11]
}

func ourCookie(n int) string { return "flamego_session=" + rowID(n) }
func scsCookie(n int) string { return "session=" + rowToken(n) }

// scsRow is a session of six values as scs stores it.
func scsRow(tb testing.TB) []byte {
	vals := make(scsRowValues)
	fill(vals)
	return must[[]byte](tb)(scs.GobCodec{}.Encode(time.Now().Add(rowTime), vals))
}

type scsRowValues map[string]interface{}

func (v scsRowValues) Get(key interface{}) interface{} { return v[key.(string)] }
func (v scsRowValues) Set(key, val interface{})        { v[key.(string)] = val }

// noTouch has no read extend its session, which it would do once a minute: the curve
// would show how long ago the rows were added.
func noTouch(opts session.Options) session.Options {
	opts.TouchInterval = idle - time.Minute
	return opts
}

// manyOnDriver returns the subjects of one raw store.
func manyOnDriver(tb testing.TB, opts session.Options, raw rawStore) []crowdedSubject {
	return []crowdedSubject{
		oursApp(tb, noTouch(opts)),
		scsApp("scs", 0, scsStore{raw}),
		scsApp("scs-sliding", idle, scsStore{raw}),
		bare{raw},
	}
}

func manyInMemory(tb testing.TB) *crowded {
	ours, theirs, row := oursApp(tb, noTouch(session.Options{})), memstore.New(), scsRow(tb)
	tb.Cleanup(theirs.StopCleanup)
	return &crowded{
		subjects: []crowdedSubject{ours, scsApp("scs", 0, theirs), scsApp("scs-sliding", idle, theirs)},
		most:     mostRows,
		add: func(from, to int) {
			for n := from; n < to; n++ {
				s := must[session.Session](tb)(ours.store.Read(ctx, rowID(n)))
				fill(s)
				check(tb, ours.store.Save(ctx, s))
				check(tb, theirs.Commit(rowToken(n), append([]byte(nil), row...), time.Now().Add(rowTime)))
			}
		},
	}
}

// manyInFiles stops at 100,000 files, which take a minute to make, and as long to remove.
func manyInFiles(tb testing.TB) *crowded {
	root, row, data := must[string](tb)(withFolders()), scsRow(tb), six.encode()
	raw := newRawFile(root)
	return &crowded{
		subjects: manyOnDriver(tb, inFiles(root), raw),
		most:     mostRows / 10,
		add: func(from, to int) {
			for n := from; n < to; n++ {
				id := rowID(n)
				check(tb, os.WriteFile(filepath.Join(root, id[:1], id[1:2], id), data, 0o600))
				check(tb, raw.set(ctx, rowToken(n), row, time.Now().Add(rowTime)))
			}
		},
	}
}

func manyInRedis(tb testing.TB) *crowded {
	const prefix = "rows-ours:"
	raw, row, data := newRawRedis(tb, "rows-scs:"), scsRow(tb), six.encode()
	return &crowded{
		subjects: manyOnDriver(tb, inRedis(tb, prefix), raw),
		most:     mostRows,
		add: func(from, to int) {
			const batch = 500
			for ; from < to; from += batch {
				p := raw.client.Pipeline()
				for n := from; n < min(from+batch, to); n++ {
					p.Set(ctx, prefix+rowID(n), data, rowTime)
					p.Set(ctx, raw.prefix+rowToken(n), row, rowTime)
				}
				_, err := p.Exec(ctx)
				check(tb, err)
			}
		},
	}
}

func init() {
	// SQLite is the one database without MD5.
	sqlite.MustRegisterDeterministicScalarFunction("md5", 1, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		sum := md5.Sum([]byte(args[0].(string)))
		return hex.EncodeToString(sum[:]), nil
	})
}

func manyInTable(tb testing.TB, d *database) *crowded {
	const ours, theirs = "rows_ours", "rows_scs"
	dsn, theirDSN := d.dsn(tb), d.dsn(tb)
	raw, row, data := newRawSQL(tb, d, theirDSN, theirs), scsRow(tb), six.encode()
	c := &crowded{subjects: manyOnDriver(tb, d.options(dsn, ours), raw), most: mostRows}
	if d == mysqlDB {
		enlargePool(tb, d.open(tb, dsn))
	}
	tables := []struct {
		name, columns string
		db            *sql.DB
		data          []byte
	}{
		{ours, "SUBSTR(MD5({n}), 1, 16), " + d.data + ", " + fmt.Sprintf(d.time, rowSeconds), d.open(tb, dsn), data},
		{theirs, "CONCAT(MD5({n}), SUBSTR(MD5({n}), 1, 11)), " + d.data + ", " + fmt.Sprintf(d.scsTime, rowSeconds), d.open(tb, theirDSN), row},
	}
	c.add = func(from, to int) {
		for _, t := range tables {
			d.addRows(tb, t.db, t.name, t.columns, from, to, t.data)
			for _, text := range d.settle {
				_, err := t.db.Exec(strings.ReplaceAll(text, "{table}", t.name))
				check(tb, err)
			}
		}
	}
	// The next store is not to be measured while this one's tables are tidied up.
	tb.Cleanup(func() {
		for _, t := range tables {
			_, err := t.db.Exec("DROP TABLE " + t.name)
			check(tb, err)
		}
	})
	return c
}

// enlargePool gives InnoDB memory for a million rows, as a server with so many has: with
// the 64 MB of a server for tests they would take minutes to add.
func enlargePool(tb testing.TB, db *sql.DB) {
	tb.Helper()
	var was int64
	check(tb, db.QueryRow("SELECT @@GLOBAL.innodb_buffer_pool_size").Scan(&was))
	set := func(size int64) {
		_, err := db.Exec(fmt.Sprintf("SET GLOBAL innodb_buffer_pool_size = %d", size))
		check(tb, err)
	}
	set(max(was, 1<<30))
	tb.Cleanup(func() { set(was) })
}
