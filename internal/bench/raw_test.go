package bench

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/go-redis/redis/v8"
)

// rawStore is a driver with the least on top of it: bytes under a key, with an
// expiry. It is a store of scs and the bare driver at once.
type rawStore interface {
	get(ctx context.Context, key string) (data []byte, found bool, err error)
	set(ctx context.Context, key string, data []byte, expiry time.Time) error
	remove(ctx context.Context, key string) error
}

var keys atomic.Uint64

// newKey returns a key as long as the tokens of scs.
func newKey() string { return fmt.Sprintf("%043d", keys.Add(1)) }

// scsStore is a rawStore as scs wants it.
type scsStore struct{ rawStore }

var _ scs.CtxStore = scsStore{}

func (s scsStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	return s.get(ctx, token)
}

func (s scsStore) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	return s.set(ctx, token, data, expiry)
}

func (s scsStore) DeleteCtx(ctx context.Context, token string) error { return s.remove(ctx, token) }

// With the three above scs does not call those without a context.

func (s scsStore) Find(token string) ([]byte, bool, error) { return s.FindCtx(ctx, token) }

func (s scsStore) Commit(token string, data []byte, expiry time.Time) error {
	return s.CommitCtx(ctx, token, data, expiry)
}

func (s scsStore) Delete(token string) error { return s.DeleteCtx(ctx, token) }

// rawRedis sets value and expiry by one command. (scs's own store takes two in a
// transaction.)
type rawRedis struct {
	client *redis.Client
	prefix string
}

func (s rawRedis) get(ctx context.Context, key string) ([]byte, bool, error) {
	data, err := s.client.Get(ctx, s.prefix+key).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	return data, err == nil, err
}

func (s rawRedis) set(ctx context.Context, key string, data []byte, expiry time.Time) error {
	return s.client.Set(ctx, s.prefix+key, data, time.Until(expiry)).Err()
}

func (s rawRedis) remove(ctx context.Context, key string) error {
	return s.client.Del(ctx, s.prefix+key).Err()
}

// rawFile writes files in place, with the expiry in front: the fastest way, and
// one that loses a session when the process dies, or another one reads it. In
// this process, locks keep readers from seeing half a file. The files are spread
// over as many folders as those of this library, since a file that is made in one of
// many folders takes some file systems five times as long as in one for all.
type rawFile struct {
	dir string
	mu  *[64]sync.RWMutex
}

func newRawFile(dir string) rawFile { return rawFile{dir, new([64]sync.RWMutex)} }

func (s rawFile) path(key string) string {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(key))
	n := int(sum.Sum32() % (folders * folders))
	return filepath.Join(s.dir, folder(n/folders), folder(n%folders), key)
}

func (s rawFile) lock(key string) *sync.RWMutex {
	return &s.mu[int(key[len(key)-1])%len(s.mu)]
}

const expirySize = 8

func (s rawFile) get(_ context.Context, key string) ([]byte, bool, error) {
	mu := s.lock(key)
	mu.RLock()
	data, err := os.ReadFile(s.path(key))
	mu.RUnlock()
	if errors.Is(err, os.ErrNotExist) || err == nil && len(data) < expirySize {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	live := time.Now().UnixNano() < int64(binary.BigEndian.Uint64(data))
	return data[expirySize:], live, nil
}

func (s rawFile) set(_ context.Context, key string, data []byte, expiry time.Time) error {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, expirySize+len(data)), uint64(expiry.UnixNano()))
	mu := s.lock(key)
	mu.Lock()
	defer mu.Unlock()
	return os.WriteFile(s.path(key), append(b, data...), 0o600)
}

func (s rawFile) remove(_ context.Context, key string) error {
	if err := os.Remove(s.path(key)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// rawSQL is a table as scs documents it for its own store of this database, with
// its statements, prepared where that is faster.
type rawSQL struct{ find, put, del statement }

// statement is an *sql.Stmt, or unprepared.
type statement interface {
	ExecContext(ctx context.Context, args ...interface{}) (sql.Result, error)
	QueryRowContext(ctx context.Context, args ...interface{}) *sql.Row
}

// unprepared leaves it to the driver to prepare.
type unprepared struct {
	db   *sql.DB
	text string
}

func (s unprepared) ExecContext(ctx context.Context, args ...interface{}) (sql.Result, error) {
	return s.db.ExecContext(ctx, s.text, args...)
}

func (s unprepared) QueryRowContext(ctx context.Context, args ...interface{}) *sql.Row {
	return s.db.QueryRowContext(ctx, s.text, args...)
}

// newRawSQL makes the table in a pool of its own.
func newRawSQL(tb testing.TB, d *database, dsn, table string) rawSQL {
	tb.Helper()
	db := d.open(tb, dsn)
	for _, text := range d.create {
		_, err := db.Exec(strings.ReplaceAll(text, "{table}", table))
		check(tb, err)
	}
	ready := func(text string) statement {
		text = strings.ReplaceAll(text, "{table}", table)
		if !d.prepare {
			return unprepared{db, text}
		}
		stmt := must[*sql.Stmt](tb)(db.Prepare(text))
		tb.Cleanup(func() { check(tb, stmt.Close()) })
		return stmt
	}
	return rawSQL{find: ready(d.find), put: ready(d.put), del: ready(d.del)}
}

func (s rawSQL) get(ctx context.Context, key string) (data []byte, found bool, err error) {
	err = s.find.QueryRowContext(ctx, key).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return data, err == nil, err
}

func (s rawSQL) set(ctx context.Context, key string, data []byte, expiry time.Time) error {
	_, err := s.put.ExecContext(ctx, key, data, expiry.UTC())
	return err
}

func (s rawSQL) remove(ctx context.Context, key string) error {
	_, err := s.del.ExecContext(ctx, key)
	return err
}
