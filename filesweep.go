package session

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/flamego/session/internal/atomicfile"
)

// Sweep looks through one folder of sessions at a time, and then through the owners.
func (b *fileBackend) Sweep(ctx context.Context) (more bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sweepOwners {
		b.sweepOwners, err = b.sweepEntries(ctx)
		return b.sweepOwners, err
	}
	if len(b.sweep) == 0 {
		if b.sweep, err = b.folders(); err != nil {
			return false, b.fail(err)
		}
	}
	if len(b.sweep) > 0 {
		err = b.sweepDir(ctx, b.sweep[0])
		b.sweep = b.sweep[1:]
	}
	b.sweepOwners = b.owners != nil && len(b.sweep) == 0
	return len(b.sweep) > 0 || b.sweepOwners, err
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

// sweepDir removes the dead sessions of a folder, and the spare files that no save is
// expected to need. It goes on where it cannot remove something, and returns the errors in
// the end.
func (b *fileBackend) sweepDir(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return b.fail(absent(err))
	}
	first, second := filepath.Base(filepath.Dir(dir))[0], filepath.Base(dir)[0]
	ours := func(sid string) bool {
		return checkSID(sid) == nil && sid[0] == first && sid[1] == second
	}
	folder, err := b.open(string([]byte{first, second})) // an ID leads there by its first two characters
	if err != nil {
		return b.fail(absent(err))
	}
	defer folder.Close()
	var errs []error
	for _, e := range entries {
		if ctx.Err() != nil {
			return b.fail(ctx.Err())
		}
		if !e.Type().IsRegular() {
			continue
		}
		if sid := e.Name(); ours(sid) {
			errs = append(errs, b.removeDead(ctx, folder, sid))
		} else if sid, ok := atomicfile.IsSpare(sid, first); ok && ours(sid) {
			errs = append(errs, b.removeSpare(ctx, folder, sid))
		}
	}
	return joinAlike(errs)
}

// joinAlike is errors.Join, but of errors with the same text it takes one. On a disk that
// cannot be written there is one for each dead session.
func joinAlike(errs []error) error {
	seen := make(map[string]bool)
	return errors.Join(slices.DeleteFunc(errs, func(err error) bool {
		if err == nil || seen[err.Error()] {
			return true
		}
		seen[err.Error()] = true
		return false
	})...)
}

// removeDead removes a session if it is dead. It looks again under the lock, since a
// request may just have extended the session.
func (b *fileBackend) removeDead(ctx context.Context, dir atomicfile.Dir, sid string) error {
	if _, err := b.look(dir, sid, false); err != nil {
		return b.fail(absent(err))
	}
	return b.locked(ctx, func() error {
		if _, err := b.look(dir, sid, false); err != nil {
			return absent(err)
		}
		return absent(dir.Remove(sid))
	}, sid)
}

// keepSpare is how long a live session keeps its spare file after it was saved last. The
// spare makes the next save fast: to make a file, and to remove one, is most of what a save
// costs. But it takes an inode and a block, as much as the session itself, and of sessions
// that live for weeks most wait for visitors who are gone. With a day, there are at most as
// many spares as sessions that were saved in the last day.
const keepSpare = 24 * time.Hour

// removeSpare removes the spare file of a session if it is not needed. It does not look
// again under the lock: a save does not depend on the spare.
func (b *fileBackend) removeSpare(ctx context.Context, dir atomicfile.Dir, sid string) error {
	if needed, err := b.needsSpare(dir, sid); needed || err != nil {
		return b.fail(err)
	}
	return b.locked(ctx, func() error { return dir.RemoveSpare(sid) }, sid)
}

// needsSpare reports whether a session is live and was saved lately. The time of the spare
// file does not tell: it is that of an access, which may be long before the save, and in the
// past or the future if the session has a time to live of its own.
func (b *fileBackend) needsSpare(dir atomicfile.Dir, sid string) (bool, error) {
	if _, err := b.look(dir, sid, true); err != nil {
		return false, absent(err)
	}
	since, err := dir.SpareSince(sid)
	return err == nil && time.Since(since) < b.keepSpare, absent(err)
}
