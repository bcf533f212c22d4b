package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// without has what this process goes without: openat2 because the kernel has said that it has
// none, and whatever else a test wants to see go wrong.
var without struct{ openat2, exchange, lease atomic.Bool }

const (
	readFlags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOFOLLOW | unix.O_CLOEXEC
	dirFlags  = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	editFlags = unix.O_WRONLY | unix.O_NONBLOCK | unix.O_NOFOLLOW | unix.O_CLOEXEC
	makeFlags = editFlags | unix.O_CREAT | unix.O_EXCL
)

// Load reads a file, of a longer one the first limit bytes. The path is the root,
// a slash and the way from there.
func Load(root, path string, limit int64) (File, error) {
	fd, err := openBelow(root, path, readFlags)
	if err != nil {
		return File{}, err
	}
	return readAll(fd, limit)
}

// Dir is an open folder. Whoever changes a file in it keeps other writers of the
// same name away, by a lock; readers need none.
type Dir struct{ fd int }

// OpenDir opens a folder. The path is the root, a slash and the way from there.
func OpenDir(root, path string) (Dir, error) {
	fd, err := openBelow(root, path, dirFlags)
	return Dir{fd}, err
}

// Close closes the folder.
func (d Dir) Close() { _ = unix.Close(d.fd) }

// Load reads a file, of a longer one the first limit bytes.
func (d Dir) Load(name string, limit int64) (File, error) {
	fd, err := openat(d.fd, name, readFlags)
	if err != nil {
		return File{}, plain("open", err)
	}
	return readAll(fd, limit)
}

// ModTime returns the time of the last change.
func (d Dir) ModTime(name string) (time.Time, error) {
	st, err := d.stat(name)
	return time.Unix(st.Mtim.Unix()), err
}

func (d Dir) stat(name string) (st unix.Stat_t, err error) {
	err = failed("stat", unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW))
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = ErrNotPlain
	}
	return st, err
}

// Touch sets the time of the last change.
func (d Dir) Touch(name string, at time.Time) error {
	t, err := unix.TimeToTimespec(at)
	if err == nil {
		err = unix.UtimesNanoAt(d.fd, name, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
	}
	return failed("chtimes", err)
}

// Put makes data the content of a file that was not there or that does not
// matter any more. It sets the time of its last change to at; the zero time is now. On ext4
// it is slow if there is a file.
func (d Dir) Put(name string, data []byte, at time.Time) error {
	if err := d.writeSpare(name, data, at, false); err != nil {
		return err
	}
	return d.rename(name)
}

// Replace is Put for a regular file that is there. The error is fs.ErrNotExist if it
// is not.
func (d Dir) Replace(name string, data []byte, at time.Time) error {
	if err := d.writeSpare(name, data, at, true); err != nil {
		return err
	}
	err := d.exchange(name)
	if errors.Is(err, errors.ErrUnsupported) {
		if _, err = d.ModTime(name); err == nil {
			return d.rename(name)
		}
	}
	if err != nil {
		_ = d.RemoveSpare(name)
	}
	return err
}

// exchange gives a file and its spare each other's name.
func (d Dir) exchange(name string) error {
	if without.exchange.Load() {
		return errors.ErrUnsupported
	}
	err := unix.Renameat2(d.fd, Spare(name), d.fd, name, unix.RENAME_EXCHANGE)
	// EINVAL is what most file systems say that cannot, EPERM an old sandbox.
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) {
		return errors.ErrUnsupported
	}
	return failed("rename", err)
}

func (d Dir) rename(name string) error {
	err := unix.Renameat(d.fd, Spare(name), d.fd, name)
	if err != nil {
		_ = d.RemoveSpare(name)
	}
	return failed("rename", err)
}

// Remove removes a file and, before it, the spare, which has an older content. If
// it fails the file is still there.
func (d Dir) Remove(name string) error {
	if err := d.RemoveSpare(name); err != nil {
		return err
	}
	return failed("remove", unix.Unlinkat(d.fd, name, 0))
}

// RemoveSpare removes the spare of a file, if there is one.
func (d Dir) RemoveSpare(name string) error {
	err := unix.Unlinkat(d.fd, Spare(name), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return failed("remove", err)
}

// SpareSince returns the time of the last Replace, which made the spare what it is. Where the
// file system does not record an exchange of names it is the time when that content was written
// or touched, by the clock, whatever time Put, Replace or Touch gave the file.
func (d Dir) SpareSince(name string) (time.Time, error) {
	st, err := d.stat(Spare(name))
	return time.Unix(st.Ctim.Unix()), err
}

// Create makes an empty file, unless something has the name already, whatever it is. It
// reports whether it has made one.
func (d Dir) Create(name string) (made bool, err error) {
	fd, err := openat(d.fd, name, makeFlags)
	switch {
	case errors.Is(err, unix.EEXIST):
		return false, nil
	case err != nil:
		return false, failed("create", err)
	}
	return true, failed("create", unix.Close(fd))
}

// Unlink removes a file that has no spare.
func (d Dir) Unlink(name string) error {
	err := unix.Unlinkat(d.fd, name, 0)
	if errors.Is(err, unix.EISDIR) {
		return ErrNotPlain
	}
	return failed("remove", err)
}

// RemoveDir removes a folder. If something is in it the error is fs.ErrExist.
func (d Dir) RemoveDir(name string) error {
	return plain("remove", unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR))
}

// Names opens the folder for its Readdirnames. The kinds of the files are not known there:
// not all file systems tell them.
func (d Dir) Names() (*os.File, error) {
	fd, err := openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return nil, failed("open", err)
	}
	return os.NewFile(uintptr(fd), "."), nil // #nosec G115 -- fd is positive
}

// writeSpare makes data the content of the spare, and at its time. With reuse that is the
// spare that is there, if there is one.
func (d Dir) writeSpare(name string, data []byte, at time.Time, reuse bool) error {
	fd, leased := -1, false
	if reuse {
		fd, leased = d.leaseSpare(Spare(name), len(data))
	}
	if !leased {
		var err error
		if fd, err = d.makeSpare(Spare(name)); err != nil {
			return failed("create", err)
		}
	}
	var err error
	for len(data) > 0 && err == nil {
		var n int
		n, err = unix.Write(fd, data)
		if n > 0 {
			data = data[n:]
		}
		if errors.Is(err, unix.EINTR) {
			err = nil
		}
	}
	if leased {
		// Not only by closing it: a child that is being started has the file open, too,
		// until it runs its program.
		_ = setInt(fd, unix.F_SETLEASE, unix.F_UNLCK)
	}
	if closeErr := unix.Close(fd); err == nil && !errors.Is(closeErr, unix.EINTR) {
		err = closeErr
	}
	err = failed("write", err)
	if err == nil && !at.IsZero() {
		err = d.Touch(Spare(name), at)
	}
	if err != nil {
		_ = d.RemoveSpare(name)
	}
	return err
}

// leaseSpare opens the spare that is there, cut to at most size bytes. If it is not to be
// had, since somebody still reads it or it is something else, it is removed.
func (d Dir) leaseSpare(spare string, size int) (fd int, ok bool) {
	fd, err := openat(d.fd, spare, editFlags)
	if err != nil {
		return -1, false
	}
	if reusable(fd, size) {
		return fd, true
	}
	_ = unix.Close(fd)
	_ = unix.Unlinkat(d.fd, spare, 0)
	return -1, false
}

// makeSpare makes a new spare, in place of one that a process left behind when it died. The new
// one needs no lease: it never had the name of the file, so no reader is about to open it.
func (d Dir) makeSpare(spare string) (int, error) {
	fd, err := openat(d.fd, spare, makeFlags)
	if !errors.Is(err, unix.EEXIST) {
		return fd, err
	}
	if err := unix.Unlinkat(d.fd, spare, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return -1, err // which says more than that the spare is there
	}
	return openat(d.fd, spare, makeFlags)
}

// reusable takes the lease of a spare and cuts it, if it is a file like the one
// that would be made anew.
func reusable(fd, size int) bool {
	// The signal that would tell of a reader who waits is one that everybody
	// ignores: he does not wait long.
	if without.lease.Load() || setInt(fd, unix.F_SETSIG, int(unix.SIGURG)) != nil || setInt(fd, unix.F_SETLEASE, unix.F_WRLCK) != nil {
		return false
	}
	var st unix.Stat_t
	switch err := unix.Fstat(fd, &st); {
	case err != nil, st.Mode != unix.S_IFREG|0o600:
		return false
	case st.Nlink != 1: // a copy that somebody keeps
		return false
	case size == 0 && st.Size == 0: // no write, no new time
		return false
	case st.Size > int64(size):
		return unix.Ftruncate(fd, int64(size)) == nil
	}
	return true
}

func setInt(fd, cmd, arg int) error {
	_, err := unix.FcntlInt(uintptr(fd), cmd, arg)
	return err
}

// openBelow opens a path without following links below the root. One call does
// it if there is no link in the root either.
func openBelow(root, path string, flags int) (int, error) {
	if !without.openat2.Load() {
		how := unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_NO_SYMLINKS} // #nosec G115 -- flags are positive
		fd, err := retry(func() (int, error) { return unix.Openat2(unix.AT_FDCWD, path, &how) })
		switch {
		case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // an old kernel, a sandbox
			without.openat2.Store(true)
		case !errors.Is(err, unix.ELOOP) && !errors.Is(err, unix.ENOTDIR):
			return fd, failed("open", err)
		}
	}
	return walk(root, path[len(root)+1:], flags)
}

// walk goes down from the root one name at a time.
func walk(root, rel string, flags int) (int, error) {
	fd, err := openat(unix.AT_FDCWD, root, dirFlags&^unix.O_NOFOLLOW)
	if err != nil {
		return fd, failed("open", err)
	}
	for {
		name, rest, more := strings.Cut(rel, "/")
		f := flags
		if more {
			f = dirFlags
		}
		next, err := openat(fd, name, f)
		_ = unix.Close(fd)
		if err != nil || !more {
			return next, plain("open", err)
		}
		fd, rel = next, rest
	}
}

func openat(dir int, name string, flags int) (int, error) {
	return retry(func() (int, error) { return unix.Openat(dir, name, flags, 0o600) })
}

// retry opens again after a signal, and after EAGAIN: the file has become the
// spare after the name was looked up, and is being written.
func retry(open func() (int, error)) (fd int, err error) {
	for range 1000 {
		fd, err = open()
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	return fd, err
}

// readAll reads a file and closes it.
func readAll(fd int, limit int64) (file File, err error) {
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return file, failed("stat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return file, ErrNotPlain
	}
	file = File{Data: make([]byte, min(st.Size, limit)), ModTime: time.Unix(st.Mtim.Unix())}
	for rest := file.Data; len(rest) > 0; {
		n, err := unix.Read(fd, rest)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return file, failed("read", err)
		case n == 0:
			return file, failed("read", io.ErrUnexpectedEOF)
		default:
			rest = rest[n:]
		}
	}
	return file, nil
}

// plain is failed, but ErrNotPlain where there is a link, or no folder.
func plain(op string, err error) error {
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return ErrNotPlain
	}
	return failed(op, err)
}

func failed(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Err: err}
}
