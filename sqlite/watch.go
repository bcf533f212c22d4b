package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/flamego/session/internal/redact"
)

// lookAgain is how long a connection reads without a look whether the file was replaced. A
// look takes a microsecond, which is a tenth of a read, so not every read looks. A request
// that begins within this time after the file was replaced is like one that began before: the
// session that it has read may have ended. A write always looks.
const lookAgain = 200 * time.Microsecond

// watch looks whether the path of a database still leads to the file that is open. If it
// does not, as after a backup was put in its place, a write would go to a file that nobody
// else sees, and be lost without an error. Then the connections are replaced.
//
// A "-wal" file that belongs to the old file must not be applied to the new one: that would
// damage it. SQLite cannot tell them apart, but a watch knows the old ones.
type watch struct {
	mu     sync.Mutex // held while a connection is made
	path   string     // of the DSN, later what SQLite says
	opened *opened    // what the last connection has opened

	generation atomic.Int64 // another number once the file was replaced
	seen       atomic.Int64 // when somebody last saw the same file, in nanoseconds since started
}

// started is where a clock begins that nobody sets.
var started = time.Now()

// opened are the files of a connection. Those that do not exist are nil.
type opened struct {
	watched        string // the path to look at, which may be a link
	path           string
	main, wal, shm os.FileInfo
}

// newWatch returns the watch of a DSN, nil if the file may not be one of the system.
func newWatch(dsn string, hasVFS bool) *watch {
	if hasVFS {
		return nil
	}
	path, _, _ := strings.Cut(dsn, "?")
	path, _ = filepath.Abs(strings.TrimPrefix(path, "file:"))
	return &watch{path: path} // a guess: see connect
}

var (
	errGone = redact.New("the file of the database is gone", nil)
	errMany = redact.New("the file of the database is replaced again and again", nil)
	errOld  = redact.New("the file of the database was replaced, and the -wal or -shm file of the old one cannot be removed", nil)
)

// connect makes a connection by open. It is sure that the connection has opened the file
// that the path leads to.
func (w *watch) connect(open func() (driver.Conn, error)) (driver.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range 5 {
		before, err := os.Stat(w.path)
		if w.opened != nil {
			if isAbsent(err) {
				return nil, errGone // to make an empty file would be in the way of a new one
			}
			if err == nil && !os.SameFile(before, w.opened.main) {
				w.generation.Add(1)
				if err := w.opened.removeLog(); err != nil {
					return nil, errOld
				}
			}
		}
		inner, err := open()
		if err != nil {
			return nil, err
		}
		c, ok := inner.(sqliteConn)
		if !ok {
			return inner, nil
		}
		now, err := look(c)
		if err != nil {
			_ = inner.Close()
			return nil, err
		}
		if now == nil && w.opened != nil {
			_ = inner.Close()
			return nil, errGone
		}
		if now == nil { // a database in memory
			return inner, nil
		}
		if before != nil && os.SameFile(before, now.main) {
			now.watched, w.opened = w.path, now
			return &conn{c, w, now, w.generation.Load()}, nil
		}
		// The file is new, the guess was wrong, or the file was replaced meanwhile.
		_ = inner.Close()
		w.path = now.path
	}
	return nil, errMany
}

// isAbsent reports whether the error of a look at a path says that no file is there. A file may
// also be in the place of its folder.
func isAbsent(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// look finds the files of a connection. It returns nil if there are none.
func look(c sqliteConn) (*opened, error) {
	ctx := context.Background()
	path, err := answer(ctx, c, "SELECT file FROM pragma_database_list WHERE name = 'main'")
	if err != nil || path == "" {
		return nil, err
	}
	if _, err := pragma(ctx, c, "schema_version"); err != nil { // opens the log
		return nil, err
	}
	o := &opened{path: path}
	if o.main, _ = os.Stat(path); o.main == nil {
		return nil, nil // a name that means a file only to SQLite, or a file that is gone by now
	}
	o.wal, _ = os.Stat(path + "-wal")
	o.shm, _ = os.Stat(path + "-shm")
	return o, nil
}

// removeLog removes the log of a file that was replaced, unless another process has done
// so.
func (o *opened) removeLog() error {
	if o.wal == nil {
		return nil
	}
	return whileLocked(o.path+"-wal", o.wal, func() error {
		if shm, err := os.Stat(o.path + "-shm"); err == nil && o.shm != nil && os.SameFile(shm, o.shm) {
			if err := os.Remove(o.path + "-shm"); err != nil {
				return err
			}
		}
		return os.Remove(o.path + "-wal")
	})
}

// whileLocked calls f while this process has a lock on a file, if the path leads to the
// known file. So two processes do not both find an old file, and the second one removes
// what the first one has made in its place.
func whileLocked(path string, known os.FileInfo, f func() error) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := lock(file); err != nil {
		return err
	}
	if now, err := os.Stat(path); err != nil || !os.SameFile(now, known) {
		return nil
	}
	return f()
}

// sqliteConn is what the connections of modernc.org/sqlite can do.
type sqliteConn interface {
	driver.Conn
	driver.Pinger
	driver.ExecerContext
	driver.QueryerContext
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.SessionResetter
	driver.Validator
}

// conn is a connection whose file is watched.
type conn struct {
	sqliteConn
	watch      *watch
	opened     *opened
	generation int64
}

// sqliteStmt is what the statements of modernc.org/sqlite can do.
type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// stmt is a statement of a conn. All writes are by statements.
type stmt struct {
	sqliteStmt
	conn *conn
}

// ResetSession is called before each operation. After driver.ErrBadConn, here or from a
// statement, the operation goes on with a new connection.
func (c *conn) ResetSession(ctx context.Context) error {
	if c.isOld(lookAgain) {
		return driver.ErrBadConn
	}
	return c.sqliteConn.ResetSession(ctx)
}

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	inner, err := c.sqliteConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return &stmt{inner.(sqliteStmt), c}, nil
}

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if s.conn.isOld(0) {
		return nil, driver.ErrBadConn
	}
	return s.sqliteStmt.ExecContext(ctx, args)
}

// isOld reports whether the path leads to another file. It does not look if any connection
// has seen the file within the given time.
func (c *conn) isOld(within time.Duration) bool {
	w := c.watch
	if w.generation.Load() != c.generation {
		return true
	}
	now := int64(time.Since(started))
	if now-w.seen.Load() < int64(within) {
		return false
	}
	info, err := os.Stat(c.opened.watched)
	if isAbsent(err) || err == nil && !os.SameFile(info, c.opened.main) {
		w.generation.CompareAndSwap(c.generation, c.generation+1)
		return true
	}
	w.seen.Store(now)
	return false
}
