package atomicfile

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// pathDir is a folder by its name, for systems without what Linux has. Its
// folders are checked once, when it is opened.
//
// A path is the root as it is, clean or not, and what follows it has slashes on
// every system; so it is cut by hand, as package filepath would change the root.
type pathDir string

func loadPath(root, path string, limit int64) (File, error) {
	end := strings.LastIndexByte(path, '/')
	d, err := openPathDir(root, path[:end])
	if err != nil {
		return File{}, err
	}
	return d.Load(path[end+1:], limit)
}

func openPathDir(root, path string) (pathDir, error) {
	dir := root
	for part := range strings.SplitSeq(path[len(root)+1:], "/") {
		dir = filepath.Join(dir, part)
		info, err := os.Lstat(dir)
		if err != nil {
			return "", err
		}
		if !info.IsDir() {
			return "", ErrNotPlain
		}
	}
	return pathDir(dir), nil
}

func (d pathDir) path(name string) string { return filepath.Join(string(d), name) }

func (d pathDir) Close() {}

func (d pathDir) Load(name string, limit int64) (file File, err error) {
	f, err := openPlain(d.path(name))
	if err != nil {
		return file, err
	}
	defer func() { _ = f.Close() }()

	info, err := f.Stat()
	if err != nil {
		return file, err
	}
	if !info.Mode().IsRegular() {
		return file, ErrNotPlain
	}
	file = File{Data: make([]byte, min(info.Size(), limit)), ModTime: info.ModTime()}
	_, err = io.ReadFull(f, file.Data)
	return file, err
}

func (d pathDir) ModTime(name string) (time.Time, error) {
	info, err := os.Lstat(d.path(name))
	switch {
	case err != nil:
		return time.Time{}, err
	case !info.Mode().IsRegular():
		return time.Time{}, ErrNotPlain
	}
	return info.ModTime(), nil
}

func (d pathDir) Touch(name string, at time.Time) error {
	return os.Chtimes(d.path(name), at, at)
}

func (d pathDir) Put(name string, data []byte, at time.Time) error {
	if err := d.writeSpare(name, data, at); err != nil {
		return err
	}
	return d.rename(name)
}

func (d pathDir) writeSpare(name string, data []byte, at time.Time) error {
	spare := d.path(Spare(name))
	if err := os.Remove(spare); err != nil && !os.IsNotExist(err) {
		return err
	}
	f, err := os.OpenFile(spare, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil && !at.IsZero() {
		err = os.Chtimes(spare, at, at)
	}
	if err != nil {
		_ = os.Remove(spare)
	}
	return err
}

func (d pathDir) rename(name string) error {
	err := os.Rename(d.path(Spare(name)), d.path(name))
	if err != nil {
		_ = os.Remove(d.path(Spare(name)))
	}
	return err
}

func (d pathDir) Take(name string, from pathDir, old string, data []byte, at time.Time) error {
	if err := d.writeSpare(name, data, at); err != nil {
		return err
	}
	err := from.RemoveSpare(old)
	if err == nil {
		err = os.Rename(from.path(old), d.path(name))
	}
	if err != nil {
		_ = d.RemoveSpare(name)
		return err
	}
	if err = d.rename(name); err != nil {
		_ = os.Rename(d.path(name), from.path(old))
	}
	return err
}

func (d pathDir) Replace(name string, data []byte, at time.Time) error {
	if _, err := os.Lstat(d.path(name)); err != nil {
		return err
	}
	return d.Put(name, data, at)
}

func (d pathDir) Remove(name string) error {
	if err := d.RemoveSpare(name); err != nil {
		return err
	}
	return os.Remove(d.path(name))
}

func (d pathDir) RemoveSpare(name string) error {
	if err := os.Remove(d.path(Spare(name))); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// SpareSince returns the zero time: no spare is kept here, so one that is there was left behind.
func (d pathDir) SpareSince(name string) (time.Time, error) {
	_, err := d.ModTime(Spare(name))
	return time.Time{}, err
}

func (d pathDir) Create(name string) (made bool, err error) {
	f, err := os.OpenFile(d.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case os.IsExist(err):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, f.Close()
}

func (d pathDir) Unlink(name string) error {
	if info, err := os.Lstat(d.path(name)); err == nil && info.IsDir() {
		return ErrNotPlain
	}
	return os.Remove(d.path(name))
}

func (d pathDir) RemoveDir(name string) error {
	if info, err := os.Lstat(d.path(name)); err == nil && !info.IsDir() {
		return ErrNotPlain
	}
	return os.Remove(d.path(name))
}

func (d pathDir) Names() (*os.File, error) { return os.Open(string(d)) }
