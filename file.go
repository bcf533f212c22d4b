package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	// Lifetime is the duration without access after which a session is recycled.
	// Default is 3600 seconds, also for values below one second.
	Lifetime time.Duration
	// RootDir is the folder of the sessions. It is made when the first one is
	// saved. Default is "sessions".
	RootDir string
	// Encoder encodes the data of a session. Default is GobEncoder.
	Encoder Encoder
	// Decoder decodes what Encoder made. Default is GobDecoder.
	Decoder Decoder
	// MaxDataSize is the greatest number of bytes of encoded data of one
	// session. Default is 1 MiB.
	MaxDataSize int
}

// FileIniter returns the Initer of the file store. It takes a FileConfig, or
// none.
//
// The session with the ID "abcd" is the file RootDir/a/b/abcd, and the time of
// its last change is the time of the last access; folders have mode 0700, files
// 0600. Files are replaced whole, so a process that dies leaves the old content
// or the new; nothing is synced, so a loss of power may lose what was saved in
// the last seconds. Processes on one machine may share RootDir: they exclude
// each other by lock files in RootDir/.lock (on Unix; elsewhere only one
// process may use it). A network file system must have flock(2).
//
// Symbolic links inside of RootDir are not followed, and GC removes nothing but
// sessions and its own stale temporary files. Errors name RootDir, never a
// session.
func FileIniter() Initer {
	return func(_ context.Context, args ...interface{}) (Store, error) {
		config, _, writer, err := initArgs[FileConfig](args)
		if err != nil {
			return nil, err
		}
		if config.RootDir == "" {
			config.RootDir = "sessions"
		}
		sc := StoreConfig{
			Name:        "file",
			Lifetime:    lifetimeOrDefault(config.Lifetime),
			Encoder:     config.Encoder,
			Decoder:     config.Decoder,
			MaxDataSize: config.MaxDataSize,
			IDWriter:    writer,
		}
		if sc.MaxDataSize <= 0 {
			sc.MaxDataSize = defaultMaxDataSize
		}
		return NewStore(&fileBackend{
			root:     config.RootDir,
			lifetime: sc.Lifetime,
			maxSize:  int64(sc.MaxDataSize),
			locks:    filelock.New(filepath.Join(config.RootDir, ".lock")),
		}, sc), nil
	}
}

// fileBackend keeps a record in a file. A record expires one lifetime after the
// file's last change; the TTL of the operations is that lifetime.
//
// Whoever changes a session holds its lock, Load needs none: a file that is
// replaced by rename is always whole.
type fileBackend struct {
	root     string
	lifetime time.Duration
	maxSize  int64
	locks    *filelock.Set

	mu    sync.Mutex
	sweep []string // folders that the GC still has to look through
}

func (b *fileBackend) dir(sid string) string {
	return filepath.Join(b.root, sid[0:1], sid[1:2])
}

func (b *fileBackend) path(sid string) string {
	return filepath.Join(b.dir(sid), sid)
}

// plainDirs returns an error if one of the folders that a session is in is
// something else, a symbolic link for example.
func (b *fileBackend) plainDirs(sid string) error {
	for _, dir := range []string{filepath.Dir(b.dir(sid)), b.dir(sid)} {
		info, err := os.Lstat(dir)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return errNotPlain
		}
	}
	return nil
}

var errNotPlain = errors.New("not a plain file or folder")

func (b *fileBackend) Load(_ context.Context, sid string) (rec Record, found bool, err error) {
	rec, found, err = b.load(sid)
	return rec, found, b.fail(err)
}

func (b *fileBackend) load(sid string) (rec Record, found bool, err error) {
	if err := b.plainDirs(sid); err != nil {
		return rec, false, absent(err)
	}
	f, err := openPlain(b.path(sid))
	if err != nil {
		return rec, false, absent(err)
	}
	defer func() { _ = f.Close() }()

	info, err := f.Stat()
	if err != nil {
		return rec, false, err
	}
	if !info.Mode().IsRegular() {
		return rec, false, nil
	}
	if rec.TTL = time.Until(b.expiry(info)); rec.TTL <= 0 {
		return rec, false, nil
	}
	// One byte over the limit is enough for the store to see that it is over.
	rec.Data = make([]byte, min(info.Size(), b.maxSize+1))
	_, err = io.ReadFull(f, rec.Data)
	return rec, err == nil, err
}

func (b *fileBackend) expiry(info fs.FileInfo) time.Time {
	return info.ModTime().Add(b.lifetime)
}

func (b *fileBackend) Insert(ctx context.Context, sid string, rec Record) (done bool, err error) {
	err = b.locked(ctx, func() error {
		_, found, err := b.load(sid)
		if err != nil || found {
			return err
		}
		done = true
		return b.write(sid, rec)
	}, sid)
	return done && err == nil, err
}

func (b *fileBackend) Swap(ctx context.Context, sid string, old []byte, rec Record) (bool, error) {
	return b.replace(ctx, sid, sid, old, rec)
}

// Rename writes the new file before it removes the old one: when there is no
// room for the new one nothing is lost. A process that dies in between leaves
// an old ID that no answer has yet declared dead.
func (b *fileBackend) Rename(ctx context.Context, sid, newSID string, old []byte, rec Record) (bool, error) {
	return b.replace(ctx, sid, newSID, old, rec)
}

func (b *fileBackend) replace(ctx context.Context, sid, newSID string, old []byte, rec Record) (done bool, err error) {
	err = b.locked(ctx, func() error {
		cur, found, err := b.load(sid)
		if err != nil || !found || !bytes.Equal(cur.Data, old) {
			return err
		}
		if err := b.write(newSID, rec); err != nil {
			return err
		}
		if newSID != sid {
			if err := os.Remove(b.path(sid)); err != nil {
				_ = os.Remove(b.path(newSID))
				return err
			}
		}
		done = true
		return nil
	}, sid, newSID)
	return done && err == nil, err
}

// write makes the folders, too, when they are missing.
func (b *fileBackend) write(sid string, rec Record) error {
	err := b.plainDirs(sid)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(b.dir(sid), 0o700); err == nil {
			err = b.plainDirs(sid)
		}
	}
	if err != nil {
		return err
	}
	return atomicfile.Write(b.path(sid), rec.Data)
}

func (b *fileBackend) Extend(ctx context.Context, sid string, _ time.Duration) error {
	return b.locked(ctx, func() error {
		if err := b.find(sid, true); err != nil {
			return absent(err)
		}
		now := time.Now()
		return absent(os.Chtimes(b.path(sid), now, now))
	}, sid)
}

// find returns an error unless there is the file of a live, or of a dead,
// session; one of the other kind counts as absent.
func (b *fileBackend) find(sid string, live bool) error {
	if err := b.plainDirs(sid); err != nil {
		return err
	}
	info, err := os.Lstat(b.path(sid))
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errNotPlain
	case time.Now().Before(b.expiry(info)) != live:
		return fs.ErrNotExist
	}
	return nil
}

func (b *fileBackend) Delete(ctx context.Context, sid string) error {
	return b.locked(ctx, func() error {
		if err := b.plainDirs(sid); err != nil {
			return absent(err)
		}
		return absent(os.Remove(b.path(sid)))
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

// Close closes the lock files.
func (b *fileBackend) Close() error {
	return b.fail(b.locks.Close())
}

// absent returns nil for the error that there is no file, or something in its
// place that is not ours and so no session either.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotPlain) {
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
