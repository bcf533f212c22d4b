// Package filelock locks names between all processes that use the same folder.
//
// Names are spread over a fixed number of lock files, so a name may wait for
// another one; there is nothing to clean up. On Unix the lock is flock(2): it
// ends with the process that holds it, and does not reach over network file
// systems that ignore it. On other systems only the goroutines of this process
// exclude each other.
package filelock

import (
	"context"
	"errors"
	"hash/fnv"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const stripes = 64

// stat fails on no file system that can be had in a test, but may on a network.
var stat = (*os.File).Stat

// Set is the locks in one folder.
type Set struct {
	dir     string
	stripes [stripes]stripe
}

// stripe is one lock file. The channel excludes the goroutines of this process,
// which share the open file and so the flock.
type stripe struct {
	held chan struct{}
	file *os.File // opened at first use
}

// New returns the locks in a folder, which is made when the first one is taken.
func New(dir string) *Set {
	s := &Set{dir: dir}
	for i := range s.stripes {
		s.stripes[i].held = make(chan struct{}, 1)
	}
	return s
}

// Lock locks one or two names and returns the function that unlocks them. It
// returns the error of the context when that ends first, or the error of the
// file system when there can be no lock file.
func (s *Set) Lock(ctx context.Context, names ...string) (unlock func(), err error) {
	var used [stripes]bool
	for _, name := range names {
		h := fnv.New32a()
		_, _ = h.Write([]byte(name))
		used[h.Sum32()%stripes] = true
	}

	var locked []*stripe
	unlock = func() {
		for _, st := range locked {
			st.unlock()
		}
	}
	// In ascending order everywhere, so that two callers never wait for each
	// other.
	for i, ok := range used {
		if !ok {
			continue
		}
		if err := s.stripes[i].lock(ctx, s.dir, strconv.Itoa(i)); err != nil {
			unlock()
			return nil, err
		}
		locked = append(locked, &s.stripes[i])
	}
	return unlock, nil
}

func (st *stripe) lock(ctx context.Context, dir, name string) error {
	select {
	case st.held <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := st.lockFile(ctx, dir, name)
	if err != nil {
		<-st.held
	}
	return err
}

// lockFile excludes other processes. They hold a lock for the time of a write,
// so asking again soon is cheaper than a thread that waits in the kernel and
// cannot be called back.
//
// A file that was removed excludes nobody who comes later, so a lock counts only
// if the file is still there under its name.
func (st *stripe) lockFile(ctx context.Context, dir, name string) error {
	for {
		if err := st.flock(ctx, dir, name); err != nil {
			return err
		}
		held, err := stat(st.file)
		if err == nil {
			if there, err := os.Lstat(filepath.Join(dir, name)); err == nil && os.SameFile(held, there) {
				return nil
			}
			err = ctx.Err()
		}
		_ = st.file.Close() // and with it the lock
		st.file = nil
		if err != nil {
			return err
		}
	}
}

func (st *stripe) flock(ctx context.Context, dir, name string) error {
	if st.file == nil {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|noFollow, 0o600)
		if err != nil {
			return err
		}
		st.file = f
	}
	for wait := 50 * time.Microsecond; ; wait = min(2*wait, 5*time.Millisecond) {
		ok, err := tryLock(st.file)
		if ok || err != nil {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (st *stripe) unlock() {
	unlockFile(st.file)
	<-st.held
}

// Close closes the lock files. It waits for locks that are held.
func (s *Set) Close() error {
	var errs []error
	for i := range s.stripes {
		st := &s.stripes[i]
		st.held <- struct{}{}
		if st.file != nil {
			errs = append(errs, st.file.Close())
			st.file = nil
		}
		<-st.held
	}
	return errors.Join(errs...)
}
