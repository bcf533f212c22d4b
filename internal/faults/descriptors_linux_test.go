package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/atomicfile"
)

// descriptors takes the descriptors of this process away.
type descriptors struct {
	t     *testing.T
	taken []int
}

// open returns how many descriptors are open.
func (d *descriptors) open() int {
	d.t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	require.NoError(d.t, err)
	return len(names) - 1
}

// leave leaves n free.
func (d *descriptors) leave(n int) {
	d.t.Helper()
	for {
		fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if errors.Is(err, syscall.EMFILE) {
			break
		}
		require.NoError(d.t, err)
		d.taken = append(d.taken, fd)
	}
	require.LessOrEqual(d.t, n, len(d.taken))
	for range n {
		last := len(d.taken) - 1
		require.NoError(d.t, syscall.Close(d.taken[last]))
		d.taken = d.taken[:last]
	}
}

func (d *descriptors) giveBack() {
	for _, fd := range d.taken {
		require.NoError(d.t, syscall.Close(fd))
	}
	d.taken = nil
}

// TestOutOfDescriptors has a process with no descriptor left, with one, with two, until a request
// succeeds; then with few for many visitors at a time. Requests fail with one clear error, and go
// on as soon as there are descriptors. No descriptor is lost.
func TestOutOfDescriptors(t *testing.T) {
	each(t, subject.onDisk, func(t *testing.T, s subject) {
		inChild(t, nil, func() string {
			place := t.TempDir()
			_ = time.Now().String() // which reads the time zone
			d := &descriptors{t: t}
			before := d.open()
			var old syscall.Rlimit
			require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old))
			require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: min(256, old.Max), Max: old.Max}))
			tr := trouble{
				begin: d.leave, end: d.giveBack, steps: true,
				texts: []string{"too many open files", "unable to open database file", "disk I/O error"},
			}
			a := onDiskApp(t, s, place)
			failed := tr.hit(t, a, place)
			if s.name == "file" { // SQLite has its files open
				require.NotZero(t, failed)
			}
			failed += tr.sweep(t, s, place)
			failed += fewDescriptors(t, a, d, tr, place)
			require.NoError(t, a.Close())
			require.LessOrEqual(t, d.open(), before+2, "descriptors are lost") // 2 are those of the runtime
			return fmt.Sprintf("%d requests failed, each with one error; the next one succeeds, no descriptor is lost", failed)
		})
	})
}

// fewDescriptors has eight visitors at a time share few descriptors. It returns how many requests
// failed.
func fewDescriptors(t *testing.T, a *app, d *descriptors, tr trouble, place string) (failed int) {
	t.Helper()
	all := make([]*visitor, 8)
	for i := range all {
		all[i] = a.visitor(t)
		all[i].ok(set("a", "1"))
	}
	together := func(rounds int, visit func(v *visitor)) {
		var wg sync.WaitGroup
		for _, v := range all {
			wg.Go(func() {
				for range rounds {
					visit(v)
				}
			})
		}
		wg.Wait()
	}
	paths := []string{"/get", set("b", secret), "/renew", "/flash?" + secret}
	most := 0
	for round := range rounds(10, 40) {
		var mu sync.Mutex
		now := 0
		d.leave(round % 10)
		together(20, func(v *visitor) {
			status, body := v.visit(paths[rand.IntN(len(paths))])
			mu.Lock()
			defer mu.Unlock()
			if status != http.StatusOK {
				now++
				if status != http.StatusInternalServerError {
					t.Errorf("status %d: %s", status, body)
				}
			}
		})
		errs := a.TakeErrors()
		d.giveBack()
		require.Len(t, errs, now, "requests that failed")
		for _, err := range errs {
			tr.clear(t, err, place)
		}
		failed += now
		together(1, func(v *visitor) {
			if seen := v.see(); seen["a"] != "1" {
				t.Errorf("what was stored is gone: %v", seen)
			}
			v.ok(set("b", secret))
		})
		require.Empty(t, a.TakeErrors())
		// Lock files and connections are kept, but there are only so many of them.
		if open := d.open(); round < 5 {
			most = max(most, open+64)
		} else {
			require.LessOrEqual(t, open, most, "descriptors are lost")
		}
	}
	for _, name := range files(t, place) {
		dir, base := filepath.Split(name)
		if of, ok := atomicfile.IsSpare(base, name[0]); ok {
			require.FileExists(t, filepath.Join(place, dir, of), "the second file of a session that is gone is left")
		}
	}
	return failed
}
