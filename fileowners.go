package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/flamego/session/internal/atomicfile"
)

var (
	_ OwnerIndex  = (*fileBackend)(nil)
	_ OwnerIniter = (*fileBackend)(nil)
)

// fileOwners is the index of owners, and how far GC is in it. The entry of a record is an
// empty file of the name of its ID, in the folder of its owner. What counts is that there is
// something of that name, whatever it is.
//
// Whoever makes or removes an entry holds the lock of the session. It is made before the
// record is written and removed after the record is gone. So there may be entries without a
// record of that owner, but never a record without its entry.
type fileOwners struct {
	folders *os.File // names of the folders to come; nil between two rounds
	folder  string   // the one that entries is of
	entries *os.File // names of the entries to come; nil between two folders
}

// ownersDir is the folder of the owners' folders. The GC of the sessions does not take it
// for one of theirs.
const ownersDir = ".owner"

// ownerDir is the folder of an owner below the root. A text of any length and any
// characters has to become a name, and the same one in all processes.
func ownerDir(owner string) string {
	hash := sha256.Sum256([]byte(owner))
	return ownersDir + "/" + hex.EncodeToString(hash[:16])
}

// isOwnerDir reports whether a name below ownersDir is one that ownerDir makes.
func isOwnerDir(name string) bool {
	hash, err := hex.DecodeString(name)
	return err == nil && len(hash) == 16 && hex.EncodeToString(hash) == name
}

// InitOwners makes nothing: folders are made for the first entry.
func (b *fileBackend) InitOwners(context.Context) error {
	b.owners = new(fileOwners)
	return nil
}

// enter makes the entry of a record that is about to be written, unless it is there. If the
// record cannot be written then, the caller takes the entry back.
func (b *fileBackend) enter(owner, sid string) (made bool, err error) {
	if b.owners == nil || owner == "" {
		return false, nil
	}
	for range 10 { // the GC of some process may remove the folder while it is empty
		var dir atomicfile.Dir
		if dir, err = b.make(b.root + "/" + ownerDir(owner)); err == nil {
			made, err = dir.Create(sid)
			dir.Close()
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		b.takeBack(made, owner, sid)
	}
	return made, err
}

// takeBack removes the entry of a record that could not be written, if enter has made one, and
// the folder if nothing else is in it: a failure leaves nothing behind that takes room.
func (b *fileBackend) takeBack(made bool, owner, sid string) {
	if b.owners == nil || owner == "" {
		return
	}
	if made {
		b.leave(owner, sid)
	}
	_ = b.removeOwner(strings.TrimPrefix(ownerDir(owner), ownersDir+"/"))
}

// leave removes the entry of a record that is gone. If that fails there is one entry too
// many, which hurts nobody.
func (b *fileBackend) leave(owner, sid string) {
	if b.owners == nil || owner == "" {
		return
	}
	if dir, err := b.openOwner(ownerDir(owner)); err == nil {
		_ = dir.Unlink(sid)
		dir.Close()
	}
}

func (b *fileBackend) openOwner(folder string) (atomicfile.Dir, error) {
	return atomicfile.OpenDir(b.root, b.root+"/"+folder)
}

// Owned reads the folder again until there is nothing new in it, but not for ever. A session that
// is gone when it is loaded may have another ID by now, whose entry is there since before.
func (b *fileBackend) Owned(ctx context.Context, owner string) (owned []OwnedRecord, err error) {
	if b.owners == nil || owner == "" {
		return nil, nil
	}
	folder := ownerDir(owner)
	seen := make(map[string]bool)
	const most = 100
	for range most {
		names, err := b.names(folder)
		if err != nil {
			return nil, b.fail(err)
		}
		known := len(seen)
		for _, sid := range names {
			if seen[sid] || checkSID(sid) != nil {
				continue
			}
			seen[sid] = true
			rec, found, err := b.loadOwned(ctx, folder, sid)
			if err != nil {
				return nil, err
			}
			if found {
				owned = append(owned, OwnedRecord{ID: sid, Record: rec})
			}
		}
		if len(seen) == known {
			return owned, nil
		}
	}
	return owned, nil
}

// loadOwned loads the session of an entry. If it is not there it looks again under the
// lock, since the entry is made before the session. If nobody is about to write it the entry
// goes.
func (b *fileBackend) loadOwned(ctx context.Context, folder, sid string) (rec Record, found bool, err error) {
	if ctx.Err() != nil {
		return rec, false, b.fail(ctx.Err())
	}
	if rec, found, err = b.Load(ctx, sid); found || err != nil {
		return rec, found, err
	}
	unlock, err := b.locks.Lock(ctx, sid)
	if err != nil {
		return rec, false, b.fail(err)
	}
	defer unlock()
	if rec, found, err = b.Load(ctx, sid); !found && err == nil {
		_ = b.unlinkEntry(folder, sid) // or else GC does
	}
	return rec, found, err
}

// names returns the names in a folder. None is no error, nor that the folder was removed
// while it was read, as it was empty then.
func (b *fileBackend) names(folder string) (names []string, err error) {
	f, err := b.openNames(folder)
	if err == nil {
		names, err = f.Readdirnames(-1)
		_ = f.Close()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}

func (b *fileBackend) openNames(folder string) (*os.File, error) {
	dir, err := b.openOwner(folder)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Names()
}

// removeEntry removes an entry if its session is dead. It looks again under the lock, as
// somebody may just have made the entry for the session that comes.
func (b *fileBackend) removeEntry(ctx context.Context, folder, sid string) error {
	if live, err := b.live(sid); live || err != nil {
		return b.fail(err)
	}
	return b.locked(ctx, func() error {
		if live, err := b.live(sid); live || err != nil {
			return err
		}
		return b.unlinkEntry(folder, sid)
	}, sid)
}

// unlinkEntry removes an entry if it is a file, and so ours.
func (b *fileBackend) unlinkEntry(folder, sid string) error {
	dir, err := b.openOwner(folder)
	if err != nil {
		return absent(err)
	}
	defer dir.Close()
	if _, err = dir.ModTime(sid); err == nil {
		err = dir.Unlink(sid)
	}
	return absent(err)
}

func (b *fileBackend) live(sid string) (bool, error) {
	dir, _, err := b.find(sid)
	if err != nil {
		return false, absent(err)
	}
	dir.Close()
	return true, nil
}

// entriesAtOnce is how many folders and entries one step of GC looks at.
const entriesAtOnce = 100

// sweepEntries removes the entries of dead sessions, and folders that are empty. It goes on
// where it cannot remove something, and returns the errors in the end.
func (b *fileBackend) sweepEntries(ctx context.Context) (more bool, err error) {
	var errs []error
	for range entriesAtOnce {
		if ctx.Err() != nil {
			return true, b.fail(ctx.Err())
		}
		more, err := b.sweepEntry(ctx)
		errs = append(errs, err)
		if !more {
			return false, joinAlike(errs)
		}
	}
	return true, joinAlike(errs)
}

// sweepEntry goes one name further.
func (b *fileBackend) sweepEntry(ctx context.Context) (more bool, err error) {
	o := b.owners
	if o.entries != nil {
		sid, err := nextName(o.entries)
		if sid == "" {
			o.closeEntries()
			return true, errors.Join(b.fail(absent(err)), b.removeOwner(o.folder))
		}
		if checkSID(sid) == nil {
			err = b.removeEntry(ctx, ownersDir+"/"+o.folder, sid)
		}
		return true, err
	}
	if o.folders == nil {
		if o.folders, err = b.openNames(ownersDir); err != nil {
			o.folders = nil
			return false, b.fail(absent(err))
		}
	}
	if o.folder, err = nextName(o.folders); o.folder == "" {
		o.close()
		return false, b.fail(absent(err))
	}
	if !isOwnerDir(o.folder) {
		return true, nil
	}
	if o.entries, err = b.openNames(ownersDir + "/" + o.folder); err != nil {
		o.entries = nil
	}
	return true, b.fail(absent(err))
}

// removeOwner removes the folder of an owner if it is empty.
func (b *fileBackend) removeOwner(folder string) error {
	dir, err := b.openOwner(ownersDir)
	if err != nil {
		return b.fail(absent(err))
	}
	defer dir.Close()
	if err = dir.RemoveDir(folder); errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return b.fail(absent(err))
}

// nextName returns the next name in a folder, or none at the end or with an error.
func nextName(f *os.File) (string, error) {
	names, err := f.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return "", nil
	}
	if len(names) == 0 {
		return "", err
	}
	return names[0], nil
}

func (o *fileOwners) closeEntries() {
	if o.entries != nil {
		_ = o.entries.Close()
		o.entries = nil
	}
}

func (o *fileOwners) close() {
	o.closeEntries()
	if o.folders != nil {
		_ = o.folders.Close()
		o.folders = nil
	}
}
