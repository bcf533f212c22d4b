package sqlite_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/sqlite"
)

// settings are those of a connection that a store would make.
type settings struct {
	journal              string
	synchronous, timeout int
}

func wantSettings(t *testing.T, dsn string, want settings) {
	t.Helper()
	c, err := sqlite.Dialect.Connector(dsn)
	if err != nil {
		t.Error(err)
		return
	}
	db := sql.OpenDB(c)
	defer db.Close()
	var got settings
	err = db.QueryRow("SELECT journal_mode, synchronous, timeout FROM pragma_journal_mode, pragma_synchronous, pragma_busy_timeout").
		Scan(&got.journal, &got.synchronous, &got.timeout)
	if err != nil || got != want {
		t.Errorf("the settings are %v, want %v: %v", got, want, err)
	}
}

// TestDefaults reads back what the connections of a store have been told.
func TestDefaults(t *testing.T) {
	t.Parallel()
	for params, want := range map[string]settings{
		"":                                {"wal", 1, 100},
		"?_txlock=immediate":              {"wal", 1, 100},
		"?_timeout=7":                     {"wal", 1, 7},
		"?_pragma=journal_mode(WAL)":      {"wal", 1, 100},
		"?_pragma=journal_mode(DELETE)":   {"delete", 2, 100},
		"?_pragma=Journal_Mode%3DDELETE":  {"delete", 2, 100},
		"?_journal_mode=DELETE":           {"delete", 2, 100},
		"?_journal=TRUNCATE":              {"truncate", 2, 100},
		"?_pragma=synchronous(FULL)":      {"wal", 2, 100},
		"?_synchronous=FULL":              {"wal", 2, 100},
		"?_sync=OFF&_journal_mode=MEMORY": {"memory", 0, 100},
		"?_pragma=journal_mode(DELETE)&_pragma=synchronous(NORMAL)": {"delete", 1, 100},
		"?_pragma=journal_mode(DELETE)&_pragma=synchronous(EXTRA)":  {"delete", 3, 100},
	} {
		t.Run(params, func(t *testing.T) {
			t.Parallel()
			dsn := filepath.Join(t.TempDir(), "app.db") + params
			if err := set(open(t, dsn), "session1", "key", 1); err != nil {
				t.Fatal(err)
			}
			wantSettings(t, dsn, want)
		})
	}
}

// withoutWAL makes a file with the journal that SQLite has by itself, and a
// session.
func withoutWAL(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "app.db")
	if err := set(open(t, file+"?_pragma=journal_mode(DELETE)"), "session1", "key", 1); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestStartBesideReader: a file that somebody reads cannot get a WAL. A store
// starts all the same and does without, however long its operations may wait.
func TestStartBesideReader(t *testing.T) {
	t.Parallel()
	for params, timeout := range map[string]int{"": 100, "?_pragma=busy_timeout(20000)": 20000, "?_timeout=0": 0} {
		t.Run(params, func(t *testing.T) {
			t.Parallel()
			file := withoutWAL(t)
			other, err := sql.Open("sqlite", file)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			reader, err := other.Begin()
			if err != nil {
				t.Fatal(err)
			}
			if err := reader.QueryRow("SELECT count(*) FROM sessions").Scan(new(int)); err != nil {
				t.Fatal(err)
			}

			begun := time.Now()
			m, err := session.New(session.Options{
				Initer: sqlite.Initer(), Config: sqlite.Config{DSN: file + params, InitTable: true},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if d := time.Since(begun); d > 3*time.Second {
				t.Errorf("the start takes %v", d)
			}
			want(t, m.Store(), "session1", "key", 1)
			wantSettings(t, file+params, settings{"delete", 2, timeout})

			if err := reader.Rollback(); err != nil {
				t.Fatal(err)
			}
			if err := set(m.Store(), "session1", "key", 2); err != nil {
				t.Fatal(err)
			}
			want(t, open(t, file+params), "session1", "key", 2)
			wantSettings(t, file+params, settings{"wal", 1, timeout})
			if err := set(m.Store(), "session1", "key", 3); err != nil {
				t.Fatal(err)
			}
			want(t, m.Store(), "session1", "key", 3)
		})
	}
}

// TestStartBesideWriter: who is in the way for a moment, another store that starts
// for example, is waited for.
func TestStartBesideWriter(t *testing.T) {
	t.Parallel()
	file := withoutWAL(t)
	other, err := sql.Open("sqlite", file+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	writer, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, func() { _ = writer.Rollback() })
	wantSettings(t, file, settings{"wal", 1, 100})
}

// TestStartReadOnly: a file that cannot be written to cannot get a WAL either.
func TestStartReadOnly(t *testing.T) {
	t.Parallel()
	dsn := "file:" + withoutWAL(t) + "?mode=ro"
	want(t, open(t, dsn), "session1", "key", 1)
}

// TestFileOfOurOwn: a connection that keeps its locks lets no other one read.
func TestFileOfOurOwn(t *testing.T) {
	t.Parallel()
	m, err := session.New(session.Options{
		Initer:  sqlite.Initer(),
		Config:  sqlite.Config{DSN: filepath.Join(t.TempDir(), "app.db?_pragma=locking_mode(EXCLUSIVE)"), InitTable: true},
		Timeout: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := set(m.Store(), "session1", "key", 1); err != nil {
		t.Fatal(err)
	}
	want(t, m.Store(), "session1", "key", 1)
}

// counted counts the connections that it makes.
type counted struct {
	driver.Connector
	made *atomic.Int64
}

func (c counted) Connect(ctx context.Context) (driver.Conn, error) {
	c.made.Add(1)
	return c.Connector.Connect(ctx)
}

// TestReadsWhereItWrites: a read uses the connection that writes, in whose cache the session
// is, unless that connection is in use.
func TestReadsWhereItWrites(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "app.db")
	var made atomic.Int64
	d := *sqlite.Dialect
	d.Connector = func(dsn string) (driver.Connector, error) {
		c, err := sqlite.Dialect.Connector(dsn)
		return counted{c, &made}, err
	}
	b, sc, err := d.Open(ctx, sqlstore.Config{DSN: file, InitTable: true})
	check(t, err)
	store := session.NewStore(b, sc)
	defer func() { check(t, store.(io.Closer).Close()) }()
	for i := range 20 {
		check(t, set(store, "session1", "key", i))
		want(t, store, "session1", "key", i)
	}
	if n := made.Load(); n != 1 {
		t.Errorf("reads and writes one by one take %d connections", n)
	}

	canceled, cancel := context.WithTimeout(ctx, time.Minute)
	cancel()
	if _, _, err := b.Load(canceled, "session1"); !errors.Is(err, context.Canceled) {
		t.Errorf("a read whose context is done: %v", err)
	}

	other, err := sql.Open("sqlite", file+"?_txlock=immediate")
	check(t, err)
	defer other.Close()
	tx, err := other.Begin()
	check(t, err)
	deleted := make(chan error, 1)
	go func() { deleted <- store.Destroy(ctx, "session2") }()
	for made.Load() == 1 { // until the writer waits for the transaction
		want(t, store, "session1", "key", 19)
	}
	check(t, tx.Rollback())
	check(t, <-deleted)
}

// TestReadersPass: with a WAL a read does not wait for a transaction that writes,
// not even for one of this process that takes long.
func TestReadersPass(t *testing.T) {
	t.Parallel()
	dsn := filepath.Join(t.TempDir(), "app.db")
	store := open(t, dsn)
	if err := set(store, "session1", "key", 1); err != nil {
		t.Fatal(err)
	}
	other, err := sql.Open("sqlite", dsn+"?_txlock=immediate&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("UPDATE sessions SET data = x''"); err != nil {
		t.Fatal(err)
	}

	// A save of the store waits for the transaction, and holds its writer.
	s := session.NewBaseSessionWithData("session2", session.GobEncoder, nil, session.Data{"key": 2})
	saved := make(chan error, 1)
	go func() { saved <- store.Save(ctx, s) }()
	for range 100 {
		want(t, store, "session1", "key", 1)
	}
	select {
	case err := <-saved:
		t.Errorf("a save passed the transaction: %v", err)
	default:
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-saved; err != nil {
		t.Error(err)
	}
	want(t, store, "session2", "key", 2)
}
