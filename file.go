package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/flamego/session/internal/atomicfile"
	"github.com/flamego/session/internal/filelock"
)

// FileConfig configures the file store.
type FileConfig struct {
	// Lifetime is the duration without access after which a session ends.
	// Default is 3600 seconds, also for values below one second.
	Lifetime time.Duration
	// RootDir is the folder of the sessions. It is made when the first one is
	// saved. Default is "sessions".
	RootDir string
	// Encoder encodes the data of a session. Default is GobEncoder.
	Encoder Encoder
	// Decoder decodes what Encoder made. Default is GobDecoder.
	Decoder Decoder
	// MaxDataSize is the greatest number of bytes of encoded data of one session. To
	// save more is an error, and a larger file is not decoded. Default is 1 MiB.
	MaxDataSize int
}

// FileIniter returns the Initer of the file store. It takes a FileConfig, or
// none.
//
// The session with the ID "abcd" is the file RootDir/a/b/abcd. The time of the file is that of
// the last access. Folders have mode 0700, files 0600. Files are replaced whole, so a process
// that dies leaves the old content or the new. Nothing is synced. So after a loss of power, a
// session that was saved in the last half minute may be missing or unreadable (and so empty),
// or as it was one or two saves ago, or, above 4 KiB, a mixture of these. Processes on one
// machine may share RootDir: they exclude each other by lock files in RootDir/.lock (on Unix;
// elsewhere only one process may use it). While somebody removes these, a process may undo what
// another one has just saved. A network file system must have flock(2).
//
// A session that is saved again has a second file next to the first, RootDir/a/b/~bcd: what it
// held before the last save. The next save writes over that file. It is removed with the session,
// or by GC when the session has not been saved for a day.
//
// With Options.OwnerKey a session of an owner has an entry besides: the empty file
// RootDir/.owner/HASH/abcd, where HASH is the first half of the SHA-256 of the owner. It is
// made before the session is saved, so that the list of an owner misses no session. An entry
// whose session is gone is removed by the next list or GC. The GC of a process with the older
// library may remove entries of live sessions: they come back when these are saved or extended.
//
// Symbolic links inside of RootDir are not followed, and GC removes nothing but
// sessions, these second files and entries. Errors name RootDir, never a session.
func FileIniter() Initer {
	return func(_ context.Context, args ...interface{}) (Store, error) {
		config, _, writer, err := initArgs[FileConfig](args)
		if err != nil {
			return nil, err
		}
		if config.RootDir == "" {
			config.RootDir = "sessions"
		}
		// The system and package filepath do not mean the same by "link/..".
		config.RootDir = filepath.Clean(config.RootDir)
		sc := StoreConfig{
			Name:        "file",
			Lifetime:    newRules(config.Lifetime).lifetime,
			Encoder:     config.Encoder,
			Decoder:     config.Decoder,
			MaxDataSize: config.MaxDataSize,
			IDWriter:    writer,
		}
		if sc.MaxDataSize <= 0 {
			sc.MaxDataSize = defaultMaxDataSize
		}
		return newStore(&fileBackend{
			root:     config.RootDir,
			lifetime: sc.Lifetime,
			maxSize:  int64(sc.MaxDataSize),
			locks:    filelock.New(filepath.Join(config.RootDir, ".lock")),

			keepSpare: keepSpare,
		}, sc), nil
	}
}

// fileBackend keeps a record in a file. It is the one backend that knows a Lifetime, because
// the old library has it so: the time of a file is that of the last access, and the record is
// dead one Lifetime later. A record with another time to live gets a file time with which that
// comes out right, in the future if need be.
//
// Whoever changes a session, or its spare file, holds its lock. Load needs none:
// a file that is read is whole, which is what package atomicfile is for.
type fileBackend struct {
	root     string
	lifetime time.Duration
	maxSize  int64
	locks    *filelock.Set

	keepSpare time.Duration // see the constant

	mu          sync.Mutex
	sweep       []string    // folders that the GC still has to look through
	owners      *fileOwners // nil without InitOwners
	sweepOwners bool        // the GC is through with sessions, and not with owners
}

// subdir is the folder of a session below the root.
func subdir(sid string) string { return sid[0:1] + "/" + sid[1:2] }

func (b *fileBackend) open(sid string) (atomicfile.Dir, error) {
	return atomicfile.OpenDir(b.root, b.root+"/"+subdir(sid))
}

func (b *fileBackend) Load(_ context.Context, sid string) (Record, bool, error) {
	f, err := atomicfile.Load(b.root, b.root+"/"+subdir(sid)+"/"+sid, b.maxSize+1)
	rec, found, err := b.record(f, err)
	return rec, found, b.fail(err)
}

// record makes a record of a file that was read. Of a file that is too large one byte
// more than the limit was read, so that the store sees it.
func (b *fileBackend) record(f atomicfile.File, err error) (Record, bool, error) {
	if err != nil {
		return Record{}, false, absent(err)
	}
	rec := Record{Data: f.Data, TTL: time.Until(b.expiry(f.ModTime))}
	return rec, rec.TTL > 0, nil
}

func (b *fileBackend) expiry(modTime time.Time) time.Time {
	return modTime.Add(b.lifetime)
}

// modTime returns the time of a file whose record has this much time left. For the
// Lifetime itself that is now, which a file that is written has anyway: modTime then
// returns the zero time, for "leave it as it is".
func (b *fileBackend) modTime(ttl time.Duration) time.Time {
	if ttl == b.lifetime {
		return time.Time{}
	}
	return time.Now().Add(ttl - b.lifetime)
}

func (b *fileBackend) Insert(ctx context.Context, sid string, rec Record) (done bool, err error) {
	err = b.locked(ctx, func() (err error) {
		for range 10 { // somebody may remove RootDir meanwhile
			if done, err = b.insert(sid, rec); !errors.Is(err, fs.ErrNotExist) {
				break
			}
		}
		return err
	}, sid)
	return done && err == nil, notApplied(err) // package atomicfile fails without a trace
}

func (b *fileBackend) insert(sid string, rec Record) (done bool, err error) {
	dir, err := b.make(b.root + "/" + subdir(sid))
	if err != nil {
		return false, err
	}
	defer dir.Close()
	_, found, err := b.record(dir.Load(sid, b.maxSize+1))
	if err != nil || found {
		return false, err
	}
	entered, err := b.enter(rec.Owner, sid)
	if err != nil {
		return false, err
	}
	err = dir.Put(sid, rec.Data, b.modTime(rec.TTL))
	if err != nil {
		b.takeBack(entered, rec.Owner, sid)
	}
	return err == nil, err
}

// make opens a folder below the root and makes it first if it is missing.
func (b *fileBackend) make(path string) (atomicfile.Dir, error) {
	dir, err := atomicfile.OpenDir(b.root, path)
	if !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	// If somebody removes a folder meanwhile, MkdirAll may say that it is there. Then OpenDir says
	// that it is not, and who calls tries again.
	if err := os.MkdirAll(filepath.Clean(path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return dir, err
	}
	return atomicfile.OpenDir(b.root, path)
}

func (b *fileBackend) Swap(ctx context.Context, sid string, old []byte, rec Record) (bool, error) {
	return b.replace(ctx, sid, sid, old, rec)
}

// Rename moves the file, and then gives it its new content: a process that dies in between leaves
// the session as it was, under the new ID alone. The old ID could be that of a session that
// somebody has just logged in to.
func (b *fileBackend) Rename(ctx context.Context, sid, newSID string, old []byte, rec Record) (bool, error) {
	return b.replace(ctx, sid, newSID, old, rec)
}

func (b *fileBackend) replace(ctx context.Context, sid, newSID string, old []byte, rec Record) (done bool, err error) {
	err = b.locked(ctx, func() error {
		dir, err := b.open(sid)
		if err != nil {
			return absent(err)
		}
		defer dir.Close()
		cur, found, err := b.record(dir.Load(sid, b.maxSize+1))
		if err != nil || !found || !bytes.Equal(cur.Data, old) {
			return err
		}
		entered, err := b.enter(rec.Owner, newSID)
		if err != nil {
			return err
		}
		switch {
		case newSID != sid:
			err = b.rename(dir, sid, newSID, rec)
		case bytes.Equal(rec.Data, old): // only its time changes
			err = dir.Touch(sid, time.Now().Add(rec.TTL-b.lifetime))
		default:
			err = dir.Replace(sid, rec.Data, b.modTime(rec.TTL))
		}
		switch done = err == nil; {
		case !done:
			b.takeBack(entered, rec.Owner, newSID)
		case newSID != sid || rec.Former != rec.Owner:
			b.leave(rec.Former, sid)
		}
		return absent(err)
	}, sid, newSID)
	return done && err == nil, notApplied(err)
}

func (b *fileBackend) rename(dir atomicfile.Dir, sid, newSID string, rec Record) error {
	newDir, err := b.make(b.root + "/" + subdir(newSID))
	if err != nil {
		return err
	}
	defer newDir.Close()
	if rec.Former != rec.Owner { // whose session it is until it has its new content
		if _, err := b.enter(rec.Former, newSID); err != nil {
			return err
		}
		defer b.leave(rec.Former, newSID)
	}
	return newDir.Take(newSID, dir, sid, rec.Data, b.modTime(rec.TTL))
}

func (b *fileBackend) Extend(ctx context.Context, sid string, ttl time.Duration) error {
	return b.locked(ctx, func() error {
		dir, modTime, err := b.find(sid)
		if err != nil {
			return absent(err)
		}
		defer dir.Close()
		if later := time.Now().Add(ttl - b.lifetime); later.After(modTime) {
			err = dir.Touch(sid, later)
		}
		return absent(err)
	}, sid)
}

// find opens the folder of a session if the session is live. Otherwise the error is that of
// a file that is not there.
func (b *fileBackend) find(sid string) (dir atomicfile.Dir, modTime time.Time, err error) {
	if dir, err = b.open(sid); err != nil {
		return dir, modTime, err
	}
	if modTime, err = b.look(dir, sid, true); err != nil {
		dir.Close()
	}
	return dir, modTime, err
}

// look returns the time of the file of a session if the session is live, or, for live false,
// if it is dead. Otherwise the error is that of a file that is not there.
func (b *fileBackend) look(dir atomicfile.Dir, sid string, live bool) (modTime time.Time, err error) {
	modTime, err = dir.ModTime(sid)
	if err == nil && time.Now().Before(b.expiry(modTime)) != live {
		err = fs.ErrNotExist
	}
	return modTime, err
}

func (b *fileBackend) Delete(ctx context.Context, sid string) error {
	return b.locked(ctx, func() error {
		dir, err := b.open(sid)
		if err != nil {
			return absent(err)
		}
		defer dir.Close()
		return absent(dir.Remove(sid))
	}, sid)
}

// locked runs f while this process and all others leave the sessions alone.
func (b *fileBackend) locked(ctx context.Context, f func() error, sids ...string) error {
	unlock, err := b.locks.Lock(ctx, sids...)
	if err != nil {
		return b.fail(err)
	}
	defer unlock()
	return b.fail(f())
}

// Close closes the lock files, and what GC has open.
func (b *fileBackend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.owners != nil {
		b.owners.close()
	}
	return b.fail(b.locks.Close())
}

// absent returns nil if the error says that there is no file. Something else in the
// place of a file, such as a link, is not ours, and so no session either.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, atomicfile.ErrNotPlain) {
		return nil
	}
	return err
}

// fail names RootDir in an error, and not the path, which ends with a session
// ID.
func (b *fileBackend) fail(err error) error {
	if err == nil {
		return nil
	}
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		err = fmt.Errorf("%s: %w", path.Op, path.Err)
	case errors.As(err, &link):
		err = fmt.Errorf("%s: %w", link.Op, link.Err)
	}
	return fmt.Errorf("RootDir %q: %w", b.root, err)
}
