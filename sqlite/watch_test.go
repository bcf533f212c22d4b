package sqlite_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/sqlite"
)

// backup makes a file with one session in it.
func backup(t testing.TB, val interface{}) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "backup.db")
	m, err := session.New(session.Options{Initer: sqlite.Initer(), Config: sqlite.Config{DSN: file, InitTable: true}})
	if err != nil {
		t.Fatal(err)
	}
	if err := set(m.Store(), "session1", "from", val); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sound checks a file by connections that nobody else uses.
func sound(t testing.TB, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	check(t, err)
	defer db.Close()
	var answer string
	check(t, db.QueryRow("PRAGMA integrity_check").Scan(&answer))
	if answer != "ok" {
		t.Error(answer)
	}
}

// TestFileReplaced puts another file in the place of the one that two stores use. All
// that they write and read from then on is in the new file.
func TestFileReplaced(t *testing.T) {
	for name, replace := range map[string]func(t *testing.T, file, by string){
		"by a rename": func(t *testing.T, file, by string) { check(t, os.Rename(by, file)) },
		"with its log": func(t *testing.T, file, by string) {
			_, _ = os.Remove(file+"-wal"), os.Remove(file+"-shm")
			check(t, os.Rename(by, file))
		},
		"after it was deleted": func(t *testing.T, file, by string) {
			check(t, os.Remove(file))
			check(t, os.Rename(by, file))
		},
		"by a link": func(t *testing.T, file, by string) {
			check(t, os.Symlink(by, file+".new"))
			check(t, os.Rename(file+".new", file))
		},
	} {
		for _, params := range []string{"", "?_pragma=journal_mode(DELETE)"} {
			t.Run(name+params, func(t *testing.T) {
				t.Parallel()
				file := filepath.Join(t.TempDir(), "app.db")
				stores := []session.Store{open(t, file+params), open(t, "file:"+file+params)}
				for round := range 3 {
					for i, store := range stores { // fills the pools, and the logs
						check(t, set(store, fmt.Sprint("session", 10+i), "round", round))
						var wg sync.WaitGroup
						for range 16 {
							wg.Go(func() { want(t, store, fmt.Sprint("session", 10+i), "round", round) })
						}
						wg.Wait()
					}
					replace(t, file, backup(t, round))
					time.Sleep(2 * time.Millisecond) // until reads look again
					if round == 1 {
						want(t, stores[0], "session1", "from", round)
					}
					for i, store := range stores {
						check(t, set(store, fmt.Sprint("session", 20+i), "round", round))
						for range 16 {
							want(t, store, fmt.Sprint("session", 20+i), "round", round)
						}
						want(t, store, "session1", "from", round)
					}
					sound(t, file)
					other := open(t, file+params)
					for i, store := range append(stores, other) {
						want(t, store, "session20", "round", round)
						want(t, store, "session21", "round", round)
						if name := fmt.Sprint("session", 10+i%2); store.Exist(ctx, name) {
							t.Errorf("%s of the old file is there", name)
						}
					}
				}
			})
		}
	}
}

// TestFileReplacedUnderLoad: what was saved after the file was replaced is in the new one,
// however busy the store is.
func TestFileReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "app.db")
	store := open(t, file)
	for round := range 5 {
		by := backup(t, round)
		var wg sync.WaitGroup
		replaced := make(chan struct{})
		for g := range 8 {
			wg.Go(func() {
				sid := fmt.Sprintf("session%d%d", round, g)
				for n, after := 0, 0; after < 20; n++ {
					select {
					case <-replaced:
						after++
					default:
					}
					if err := set(store, sid, fmt.Sprint("key", n), n); err != nil {
						t.Error(err)
						return
					}
					// The first change may be one of a session that was read from the old
					// file a moment ago: it has ended, as the new file does not have it.
					if after > 1 {
						want(t, store, sid, fmt.Sprint("key", n), n)
					}
				}
			})
		}
		time.Sleep(30 * time.Millisecond)
		check(t, os.Rename(by, file))
		close(replaced)
		wg.Wait()
		sound(t, file)
		for g := range 8 {
			if sid := fmt.Sprintf("session%d%d", round, g); !open(t, file).Exist(ctx, sid) {
				t.Errorf("round %d: what was saved in %s is not in the file", round, sid)
			}
		}
	}
}

// TestFileReplacedSince: a write goes to the new file, however short a time ago somebody has
// looked at the old one.
func TestFileReplacedSince(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "app.db")
	store := open(t, file)
	for round := range 20 {
		check(t, set(store, "session1", "round", round))
		by, sid := backup(t, round), fmt.Sprint("session2", round)
		s := session.NewBaseSessionWithData(sid, session.GobEncoder, nil, session.Data{"round": round})
		want(t, store, "session1", "round", round)
		check(t, os.Rename(by, file))
		check(t, store.Save(ctx, s))
		want(t, open(t, file), sid, "round", round)
	}
}

// TestFileGone: without a file there is an error, which no empty file hides, and when the
// file is back, the store goes on.
func TestFileGone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "app.db")
	store := open(t, file)
	check(t, set(store, "session1", "key", 1))
	check(t, os.Rename(file, file+".away"))
	err := set(store, "session1", "key", 2)
	if err == nil || !strings.Contains(err.Error(), "the file of the database is gone") || strings.Contains(err.Error(), file) {
		t.Errorf("without a file: %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("an empty file was made")
	}
	check(t, os.Rename(file+".away", file))
	check(t, set(store, "session1", "key", 3))
	want(t, store, "session1", "key", 3)
	want(t, open(t, file), "session1", "key", 3)
	sound(t, file)
}

// TestFolderIsFile: a file in the place of the folder is as good as no file.
func TestFolderIsFile(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "folder")
	check(t, os.Mkdir(folder, 0o700))
	file := filepath.Join(folder, "app.db")
	store := open(t, file)
	check(t, set(store, "session1", "key", 1))
	check(t, os.Rename(folder, folder+".away"))
	check(t, os.WriteFile(folder, nil, 0o600))
	err := set(store, "session1", "key", 2)
	if err == nil || !strings.Contains(err.Error(), "the file of the database is gone") {
		t.Errorf("without a folder: %v", err)
	}
	check(t, os.Remove(folder))
	check(t, os.Rename(folder+".away", folder))
	want(t, store, "session1", "key", 1)
	check(t, set(store, "session1", "key", 3))
	want(t, open(t, file), "session1", "key", 3)
}
