// Package filelock locks names between all processes that use the same folder.
//
// Names are spread over a fixed number of lock files, so there is nothing to clean
// up. Two names may share a lock file, and then one waits for the other. All lock files are
// made at once: on a disk that is full, none could be made for what has to be removed.
//
// On Unix a lock is flock(2). The lock ends with the process that holds it. Some
// network file systems ignore flock; there, and on other systems than Unix, only the
// goroutines of one process exclude each other.
package filelock

import (
	"context"
	"errors"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const stripes = 64 // lock files in a folder

// stat is a variable because only tests can make it fail: a local file system does
// not, but a network file system may.
var stat = (*os.File).Stat

// Set is the locks in one folder.
type Set struct {
	dir     string
	stripes [stripes]stripe
}

// stripe is one lock file. The goroutines of this process share the open file and with
// it the flock, so they need the channel to exclude each other.
type stripe struct {
	held chan struct{} // holds an element while the stripe is locked
	file *os.File      // opened at first use
}

// New returns the locks in a folder. The first Lock makes the folder.
func New(dir string) *Set {
	s := &Set{dir: dir}
	for i := range s.stripes {
		s.stripes[i].held = make(chan struct{}, 1)
	}
	return s
}

// Lock locks one or two names and returns the function that unlocks them. It
// returns the error of the context if the context ends first, and the error of the
// file system if a lock file cannot be made.
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
	// All callers lock in ascending order, so that no two wait for each other.
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

// lockFile excludes other processes.
//
// If somebody has removed the lock file, processes that come later make a new one, and
// a lock on the removed file does not exclude them. So a lock counts only if its file
// still has its name.
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
		_ = st.file.Close() // which ends the lock
		st.file = nil
		if err != nil {
			return err
		}
	}
}

// flock opens the lock file if need be, and asks for its lock until it is free. Other
// processes hold a lock only for the time of a write, so it will soon be free. A thread
// that waits in the kernel for a lock would cost more, and could not be called back.
func (st *stripe) flock(ctx context.Context, dir, name string) error {
	if st.file == nil {
		f, err := open(dir, name)
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

// open opens a lock file. If it is missing, open makes it, and the others too.
func open(dir, name string) (f *os.File, err error) {
	for range 10 { // somebody may make the file, or remove the folder, meanwhile
		f, err = os.OpenFile(filepath.Join(dir, name), os.O_RDWR|noFollow, 0)
		if errors.Is(err, fs.ErrNotExist) {
			if f, err = create(dir, name); err == nil {
				createAll(dir)
			}
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return f, err
}

func create(dir, name string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// createAll makes what is missing, or else it is made when it is needed.
func createAll(dir string) {
	for i := range stripes {
		if f, err := create(dir, strconv.Itoa(i)); err == nil {
			_ = f.Close()
		}
	}
}

func (st *stripe) unlock() {
	unlockFile(st.file)
	<-st.held
}

// Close closes the lock files, each when nobody holds its lock.
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
