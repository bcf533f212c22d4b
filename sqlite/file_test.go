package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testing/child"
	"github.com/flamego/session/sqlite"
)

func open(t testing.TB, dsn string) session.Store {
	t.Helper()
	m, err := session.New(session.Options{
		Initer: sqlite.Initer(),
		Config: sqlite.Config{DSN: dsn, InitTable: true},
		// SQLite does not queue: on a slow disk the unlucky wait long for a turn.
		Timeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m.Store()
}

func set(store session.Store, sid string, key, val interface{}) error {
	s, err := store.Read(ctx, sid)
	if err != nil {
		return err
	}
	s.Set(key, val)
	return store.Save(ctx, s)
}

func want(t testing.TB, store session.Store, sid string, key, val interface{}) {
	t.Helper()
	s, err := store.Read(ctx, sid)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Get(key); got != val {
		t.Errorf("%v of session %s is %v, want %v", key, sid, got, val)
	}
}

// TestCrowd has 64 goroutines read and write at once, through two stores where
// the database can be shared. Without a busy_timeout almost all of them fail.
func TestCrowd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for dsn, shared := range map[string]bool{
		filepath.Join(dir, "plain.db"):                                    true,
		filepath.Join(dir, "wal.db?_pragma=journal_mode(WAL)"):            true,
		"file:" + filepath.Join(dir, "uri.db?mode=rwc"):                   true,
		filepath.Join(dir, "impatient.db?_pragma=busy_timeout(0)"):        true,
		"file:" + filepath.Join(dir, "cache.db?cache=shared&mode=memory"): false,
		"file:/" + t.Name() + "?vfs=memdb":                                false,
		":memory:":                                                        false,
		"file::memory:":                                                   false,
		"file::memory:?cache=shared":                                      false,
		"file:mem.db?mode=memory":                                         false,
		":memory:?_pragma=foreign_keys(1)":                                false,
	} {
		t.Run(dsn, func(t *testing.T) {
			t.Parallel()
			stores := []session.Store{open(t, dsn), nil}
			stores[1] = stores[0]
			if shared {
				stores[1] = open(t, dsn)
			}
			var wg sync.WaitGroup
			for g := range 64 {
				wg.Go(func() {
					store, sid := stores[g%2], fmt.Sprint("session", g/2)
					for n := range 5 {
						if err := set(store, sid, fmt.Sprint(g, "key", n), n); err != nil {
							t.Error(err)
						}
					}
					if err := store.GC(ctx); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			for g := range 64 {
				for n := range 5 {
					want(t, stores[0], fmt.Sprint("session", g/2), fmt.Sprint(g, "key", n), n)
				}
			}
		})
	}
	t.Cleanup(func() {
		for _, name := range []string{"mem.db", ":memory:"} {
			if _, err := os.Stat(name); err == nil {
				t.Errorf("a file %s was made", name)
			}
		}
	})
}

// TestMemoryStays: the database must outlive requests that were given up.
func TestMemoryStays(t *testing.T) {
	t.Parallel()
	store := open(t, ":memory:")
	if err := set(store, "session1", "key", 1); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			short, cancel := context.WithTimeout(ctx, time.Duration(i)*20*time.Microsecond)
			defer cancel()
			for range 20 {
				_, _ = store.Read(short, "session1")
			}
		})
	}
	wg.Wait()
	want(t, store, "session1", "key", 1)
}

func TestNames(t *testing.T) {
	t.Chdir(t.TempDir())
	for dsn, file := range map[string]string{
		"app.db":         "app.db",
		"with spaces.db": "with spaces.db",
		"empty.db?":      "empty.db",
		"./dot.db?_txlock=immediate&_time_format=sqlite": "dot.db",
		"file:uri.db":                        "uri.db",
		"file:with%20percent%3F.db?mode=rwc": "with percent?.db",
		"percent%20.db":                      "percent%20.db",
		"hash#.db":                           "hash#.db",
		"mode.db?mode=memory":                "mode.db",
		"slow.db?_pragma=BUSY_TIMEOUT(7)":    "slow.db",
		"slower.db?_timeout=8":               "slower.db",
	} {
		if err := set(open(t, dsn), "session1", "key", 1); err != nil {
			t.Errorf("%s: %v", dsn, err)
		}
		if _, err := os.Stat(file); err != nil {
			t.Errorf("%s: %v", dsn, err)
		}
		want(t, open(t, dsn), "session1", "key", 1)
	}
}

func TestBadDSN(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "canary.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("this is not a database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	env.BadDSNs(t, map[string]string{
		filepath.Join(dir, "canary", "app.db"): "connect: path, or mode: unable to open database file",
		dir:                                    "connect: path, or mode: unable to open database file",
		text:                                   "connect: path: file is not a database",
		filepath.Join(dir, "x.db?canary=%zz"):  "the DSN is not valid: a parameter after the ?: invalid URL escape",
		filepath.Join(dir, "x.db?canary;b=1"):  "the DSN is not valid: a parameter after the ?: invalid semicolon separator",
		filepath.Join(dir, "x.db?_txlock=canary"):         "connect: unknown _txlock",
		filepath.Join(dir, "x.db?_journal_mode=canary"):   "connect: invalid _journal_mode",
		filepath.Join(dir, "x.db?_pragma=canary(x')"):     "connect: _pragma: SQL logic error",
		filepath.Join(dir, "x.db?_timezone=canary"):       "connect: unknown _timezone",
		"file:" + filepath.Join(dir, "canary.db?mode=ro"): "connect: path, or mode: unable to open database file",
		"file:x.db?vfs=canary":                            "connect: vfs: no such vfs",
	}, "canary", dir)
	if _, err := os.Stat(filepath.Join(dir, "canary.db")); err == nil {
		t.Error("a file was made")
	}
}

// TestReadOnly: an error of the database in the middle of an operation.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	tab := env.New(t).Init()
	tab.Backend()
	tab.Config.DSN = "file:" + tab.Config.DSN + "?mode=ro"
	b := tab.Backend()
	_, err := b.Insert(ctx, "session1", session.Record{Data: []byte("a"), TTL: time.Minute})
	sqltest.NoLeak(t, err, "session1", "INSERT", tab.Config.DSN)
	if !strings.Contains(err.Error(), "readonly") {
		t.Errorf("the error does not say what is wrong: %v", err)
	}
	if original := (interface{ Code() int })(nil); !errors.As(err, &original) {
		t.Error("the original error is lost")
	}
}

// TestTwoProcesses has this test binary, started again, write to the same
// session as this process: neither loses an update.
func TestTwoProcesses(t *testing.T) {
	const keys = 50
	if dsn := os.Getenv("SESSION_TEST_DSN"); dsn != "" {
		store := open(t, dsn)
		for n := range keys {
			if err := set(store, "shared", fmt.Sprint("theirs", n), n); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	t.Parallel()
	dsn := filepath.Join(t.TempDir(), "shared.db")
	store := open(t, dsn)
	other := child.Start(t, "SESSION_TEST_DSN="+dsn)
	for n := range keys {
		if err := set(store, "shared", fmt.Sprint("ours", n), n); err != nil {
			t.Error(err)
		}
	}
	other.Wait()
	for n := range keys {
		want(t, store, "shared", fmt.Sprint("ours", n), n)
		want(t, store, "shared", fmt.Sprint("theirs", n), n)
	}
}

func FuzzDSN(f *testing.F) {
	f.Chdir(f.TempDir())
	env.FuzzDSN(f, nil,
		"app.db", "file:/var/lib/app.db?mode=rw", ":memory:", "?", "file:", "x?_pragma=busy_timeout(1)&_pragma=journal_mode(WAL)",
		"x?a=%zz", "x?a;b", "x?vfs=a&vfs=b", "file:%2e%2e?vfs=x", "x?_timeout=y", "\x00", "x?=&&=")
}

func TestRefusals(t *testing.T) {
	const raise = "BEGIN SELECT RAISE(ABORT, NEW.key || ' ' || NEW.data || hex(NEW.data)); END"
	check := fmt.Sprintf(strings.Replace(env.OldTable, "data BLOB", "data BLOB CHECK (hex(data) NOT LIKE '63616E6172%%')", 1), "%T")
	env.Secrets(t, map[string][]string{
		"trigger":   {"CREATE TRIGGER %T_i BEFORE INSERT ON %T " + raise, "CREATE TRIGGER %T_u BEFORE UPDATE ON %T " + raise},
		"CHECK":     {"DROP TABLE %T", strings.ReplaceAll(check, "%%", "%")},
		"no column": {"ALTER TABLE %T RENAME COLUMN data TO other"},
		"not null":  {"ALTER TABLE %T ADD COLUMN more TEXT NOT NULL DEFAULT 'a' CHECK (more <> 'a' OR length(data) < 3)"},
	})
}
