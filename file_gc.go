package session

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/flamego/session/internal/atomicfile"
)

// staleTemp is the age at which a temporary file has been left behind by a
// process that died: writing one takes milliseconds.
const staleTemp = time.Hour

// Sweep looks through one folder of sessions at a time.
func (b *fileBackend) Sweep(ctx context.Context) (more bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.sweep) == 0 {
		if b.sweep, err = b.folders(); err != nil || len(b.sweep) == 0 {
			return false, b.fail(err)
		}
	}
	dir := b.sweep[0]
	b.sweep = b.sweep[1:]
	return len(b.sweep) > 0, b.sweepDir(ctx, dir)
}

// folders returns all folders RootDir/x/y. Other names, and links, are not
// ours.
func (b *fileBackend) folders() (dirs []string, err error) {
	level := []string{b.root}
	for range 2 {
		dirs = nil
		for _, parent := range level {
			entries, err := os.ReadDir(parent)
			if absent(err) != nil {
				return nil, err
			}
			for _, e := range entries {
				if name := e.Name(); e.IsDir() && len(name) == 1 && isIDChar(name[0]) {
					dirs = append(dirs, filepath.Join(parent, name))
				}
			}
		}
		level = dirs
	}
	return dirs, nil
}

// sweepDir removes the dead sessions of a folder and temporary files left
// behind. What it cannot remove does not keep it from the rest.
func (b *fileBackend) sweepDir(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return b.fail(absent(err))
	}
	var errs []error
	for _, e := range entries {
		name := e.Name()
		switch {
		case ctx.Err() != nil:
			return b.fail(ctx.Err())
		case !e.Type().IsRegular():
		case checkSID(name) == nil && b.dir(name) == dir:
			errs = append(errs, b.removeDead(ctx, name))
		case atomicfile.IsTemp(name):
			errs = append(errs, b.fail(removeOld(filepath.Join(dir, name))))
		}
	}
	return errors.Join(errs...)
}

// removeDead removes a session if it is dead, which is looked at again under
// the lock: a request may be extending it.
func (b *fileBackend) removeDead(ctx context.Context, sid string) error {
	if err := b.find(sid, false); err != nil {
		return b.fail(absent(err))
	}
	return b.locked(ctx, func() error {
		if err := b.find(sid, false); err != nil {
			return absent(err)
		}
		return absent(os.Remove(b.path(sid)))
	}, sid)
}

func removeOld(name string) error {
	info, err := os.Lstat(name)
	if err != nil || time.Since(info.ModTime()) < staleTemp {
		return absent(err)
	}
	return absent(os.Remove(name))
}
