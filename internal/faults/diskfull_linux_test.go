package faults

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/testing/webapp"
)

// TestDiskFull has a disk with room for no more files or content, for one more, for two, until a
// request succeeds. So each step of a save, of a renewal, of the index of owners and of GC fails
// in its turn. Files rest on a new file that takes the place of the old one when it is whole (package
// atomicfile), and GC on lock files that are all made beforehand (package filelock). The database of
// SQLite rests on its log, and its GC on small steps.
func TestDiskFull(t *testing.T) {
	each(t, subject.onDisk, func(t *testing.T, s subject) {
		inChild(t, mounting, func() string {
			d := newSmall(t)
			content := trouble{
				begin: func(n int) { d.leave(plenty, n) }, end: d.roomy,
				steps: true, reads: true, frees: s.name == "file",
				texts: []string{"no space left on device", "database or disk is full", "disk I/O error"},
			}
			number := content
			number.begin = func(n int) { d.leave(n, plenty) }
			place := filepath.Join(d.dir, "sessions")
			require.NoError(t, os.Mkdir(place, 0o700))
			a := onDiskApp(t, s, place)
			failed := content.hit(t, a, place)
			require.NotZero(t, failed)
			if s.name == "sqlite" {
				logOnFullDisk(t, s, d)
				require.NoError(t, a.Close())
				swept := content.sweep(t, s, place)
				require.NotZero(t, swept, "the disk was never full for GC")
				return fmt.Sprintf("%d requests failed and GC %d times, each with one error; nothing lost, the next one succeeds", failed, swept)
			}
			files := number.hit(t, a, place)
			require.NotZero(t, files)
			swept := content.sweep(t, s, place) + number.sweep(t, s, place)
			require.Zero(t, swept, "GC fails on a full disk, which it would have to make room on")
			return fmt.Sprintf("%d requests failed, each with one error; nothing lost, no file left, the next one succeeds; GC and logout never fail", failed+files)
		})
	})
}

// logOnFullDisk fills a disk until the log of SQLite cannot be copied into the database any more,
// and then until the log cannot grow. What was stored can be read all the time.
func logOnFullDisk(t *testing.T, s subject, d small) {
	t.Helper()
	place := filepath.Join(d.dir, "log")
	require.NoError(t, os.Mkdir(place, 0o700))
	file := filepath.Join(place, "sessions.db")
	a := newApp(t, s.at(place, ""))
	first := a.visitor(t)
	first.ok(set("a", "1"))
	size := func(name string) int64 {
		info, err := os.Stat(name)
		require.NoError(t, err)
		return info.Size()
	}
	// A log of 1,000 pages is copied into the database. There is room for the log and for half
	// of the copy.
	d.leave(plenty, 1500)
	stored := make(map[*visitor]string)
	val := strings.Repeat(secret, 1000)
	for {
		require.Less(t, len(stored), 2000, "the disk is never full")
		v := a.visitor(t)
		if status, _ := v.visit(set("b", fmt.Sprint(len(stored), val))); status != http.StatusOK {
			break
		}
		stored[v] = fmt.Sprint(len(stored), val)
	}
	errs := a.TakeErrors()
	require.Len(t, errs, 1)
	full := trouble{texts: []string{"database or disk is full", "disk I/O error"}}
	full.clear(t, errs[0], place)
	require.Greater(t, size(file+"-wal"), int64(1000*blockSize))
	all := int64(len(stored) * len(val))
	require.Less(t, size(file), all, "the log was copied in spite of the full disk")
	for v, val := range stored {
		require.Equal(t, val, v.see()["b"])
	}
	require.Equal(t, "1", first.see()["a"])

	// A process that starts now says what is wrong, if it cannot begin.
	opts := s.at(place, "")
	other, err := webapp.Open(opts)
	if err == nil {
		require.NoError(t, other.Close())
	} else {
		require.Regexp(t, `^sqlite: .*(full|I/O error)`, err.Error())
		require.NotContains(t, err.Error(), place)
	}

	d.roomy()
	a.visitor(t).ok(set("b", val)) // at once
	require.Greater(t, size(file), all, "the log was not copied")
	for v, val := range stored {
		require.Equal(t, val, v.see()["b"])
	}
	require.NoError(t, a.Close())
	sound(t, file)
	after := newApp(t, s.at(place, ""))
	for v, val := range stored {
		require.Equal(t, val, after.with(t, v.id).see()["b"])
	}
}

// sound lets SQLite check a file.
func sound(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	defer db.Close()
	var answer string
	require.NoError(t, db.QueryRow("PRAGMA integrity_check").Scan(&answer))
	require.Equal(t, "ok", answer)
}

// TestFileSizeLimit has the system refuse to make a file larger, after none, some or all of a
// write. It needs no mount, so it runs where TestDiskFull cannot.
func TestFileSizeLimit(t *testing.T) {
	each(t, subject.onDisk, func(t *testing.T, s subject) {
		inChild(t, nil, func() string {
			signal.Ignore(syscall.SIGXFSZ) // which would end the process
			place := t.TempDir()
			var old syscall.Rlimit
			require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old))
			limit := func(n uint64) {
				require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: min(n, old.Max), Max: old.Max}))
			}
			tr := trouble{
				begin: func(n int) {
					var size uint64
					if info, err := os.Stat(filepath.Join(place, "sessions.db-wal")); err == nil {
						size = uint64(info.Size())
					}
					limit(size + uint64(n)*1500)
				},
				end:   func() { limit(old.Cur) },
				steps: true, reads: true, frees: s.name == "file",
				texts: []string{"write: file too large", "disk I/O error"},
			}
			a := onDiskApp(t, s, place)
			failed := tr.hit(t, a, place)
			require.NotZero(t, failed)
			require.NoError(t, a.Close())
			swept := tr.sweep(t, s, place)
			require.Equal(t, s.name == "sqlite", swept > 0, "GC of files needs no room, and that of SQLite does")
			return fmt.Sprintf("%d requests failed and GC %d times, each with one error; nothing lost, no file left, the next one succeeds", failed, swept)
		})
	})
}
