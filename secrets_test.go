package session_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/counting"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// quoting is the error of a driver whose server has quoted the command: in the text, and
// in fields that encoders and %#v show.
type quoting struct {
	Text    string
	Command []any
}

func (e quoting) Error() string { return e.Text }

func quote(ok *atomic.Bool, command ...any) error {
	if ok.Load() {
		return nil
	}
	text := "unknown command 'SET', with args beginning with:"
	for _, arg := range command {
		if b, ok := arg.([]byte); ok {
			arg = string(b)
		}
		text += fmt.Sprintf(" '%v'", arg)
	}
	return fmt.Errorf("%s (key %v): %w", text, command[0], quoting{text, command})
}

// quotingBackend is a backend of an app.
type quotingBackend struct {
	session.Backend
	works atomic.Bool
}

func (b *quotingBackend) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	rec, found, err := b.Backend.Load(ctx, sid)
	return rec, found, errors.Join(err, quote(&b.works, sid, rec.Data))
}

func (b *quotingBackend) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	ok, err := b.Backend.Insert(ctx, sid, rec)
	return ok, errors.Join(err, quote(&b.works, sid, rec.Data))
}

func (b *quotingBackend) Sweep(context.Context) (bool, error) {
	return false, quote(&b.works, "qzcanaryofdata")
}

// quotingStore is a store of another make.
type quotingStore struct {
	session.Store
	works atomic.Bool
}

func (s *quotingStore) Read(ctx context.Context, sid string) (session.Session, error) {
	sess, err := s.Store.Read(ctx, sid)
	return sess, errors.Join(err, quote(&s.works, sid, "qzcanaryofdata"))
}

func (s *quotingStore) Exist(ctx context.Context, sid string) bool { return s.Store.Exist(ctx, sid) }

// No error shows a session ID or data, however it is shown, for the stores on no server,
// and for what an app brings along.
func TestSecrets(t *testing.T) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		store, err := session.MemoryIniter()(context.Background(), session.IDWriter(func(http.ResponseWriter, *http.Request, string) {}))
		require.NoError(t, err)
		for _, sid := range []string{"qz", "../qzcanary", "QZCANARY"} {
			_, err := store.Read(context.Background(), sid)
			require.Error(t, err)
			counting.NotShown(t, err, sid)
			err = store.Save(context.Background(), session.NewBaseSessionWithData(sid, nil, nil, session.Data{"k": "v"}))
			require.Error(t, err)
			counting.NotShown(t, err, sid)
		}
	})
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		counting.Broken{
			Open: func(testing.TB) session.Options {
				return session.Options{Initer: session.FileIniter(), Config: session.FileConfig{RootDir: dir}}
			},
			Break: func(t testing.TB) { // what it cannot read
				require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
					if err != nil || entry.IsDir() || len(entry.Name()) != 16 {
						return err
					}
					return os.WriteFile(path, []byte("qzcanaryofdata "+entry.Name()), 0o600)
				}))
			},
			Fails: []string{"/read", "/large", "/unregistered"},
		}.Secrets(t)
	})
	t.Run("backend of an app", func(t *testing.T) {
		t.Parallel()
		b := &quotingBackend{Backend: mapbackend.New()}
		b.works.Store(true)
		counting.Broken{
			Open: func(testing.TB) session.Options {
				return session.Options{Initer: func(context.Context, ...interface{}) (session.Store, error) {
					return session.NewStore(b, session.StoreConfig{}), nil
				}}
			},
			Break: func(t testing.TB) {
				b.works.Store(false)
				err := session.NewStore(b, session.StoreConfig{}).GC(context.Background())
				require.Error(t, err)
				counting.NotShown(t, err)
				require.ErrorAs(t, err, new(quoting))
			},
			Fails: []string{"/read", "/set", "/renew", "/logout"},
		}.Secrets(t)
	})
	t.Run("store of another make", func(t *testing.T) {
		t.Parallel()
		store := &quotingStore{Store: session.NewStore(mapbackend.New(), session.StoreConfig{})}
		store.works.Store(true)
		opts := session.Options{Initer: func(context.Context, ...interface{}) (session.Store, error) { return store, nil }}
		var errs []error
		opts.ErrorFunc = func(err error) { errs = append(errs, err) }
		opts.Timeout = time.Minute
		a := newApp(t, opts)
		a.Get("/set", func(s session.Session) string { s.Set("text", "qzcanaryofdata"); return "ok" })
		a.get("/set")
		store.works.Store(false)
		sid := a.cookie[len("flamego_session="):]
		a.get("/set")
		require.NotEmpty(t, errs)
		for _, err := range errs {
			counting.NotShown(t, err, sid)
			require.ErrorAs(t, err, new(quoting))
		}
	})
}
