package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/flamego/session"
	"github.com/flamego/session/sqlite"
)

// TestDefaults reads back what the connections of a store have been told.
func TestDefaults(t *testing.T) {
	t.Parallel()
	for params, want := range map[string]struct {
		journal     string
		synchronous int
	}{
		"":                                {"wal", 1},
		"?_txlock=immediate":              {"wal", 1},
		"?_pragma=journal_mode(DELETE)":   {"delete", 1},
		"?_pragma=Journal_Mode%3DDELETE":  {"delete", 1},
		"?_journal_mode=DELETE":           {"delete", 1},
		"?_journal=TRUNCATE":              {"truncate", 1},
		"?_pragma=synchronous(FULL)":      {"wal", 2},
		"?_synchronous=FULL":              {"wal", 2},
		"?_sync=OFF&_journal_mode=MEMORY": {"memory", 0},
		"?_pragma=journal_mode(DELETE)&_pragma=synchronous(EXTRA)": {"delete", 3},
	} {
		t.Run(params, func(t *testing.T) {
			t.Parallel()
			dsn := filepath.Join(t.TempDir(), "app.db") + params
			if err := set(open(t, dsn), "session1", "key", 1); err != nil {
				t.Fatal(err)
			}
			c, err := sqlite.Dialect.Connector(dsn)
			if err != nil {
				t.Fatal(err)
			}
			db := sql.OpenDB(c)
			defer db.Close()
			var (
				journal     string
				synchronous int
			)
			if err := db.QueryRow("SELECT journal_mode, synchronous FROM pragma_journal_mode, pragma_synchronous").Scan(&journal, &synchronous); err != nil {
				t.Fatal(err)
			}
			if journal != want.journal || synchronous != want.synchronous {
				t.Errorf("journal_mode is %s and synchronous %d, want %s and %d", journal, synchronous, want.journal, want.synchronous)
			}
		})
	}
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
