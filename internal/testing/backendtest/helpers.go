package backendtest

// What tests of backends say often.

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamego/session"
)

// Record is a record of a text.
func Record(data string, ttl time.Duration) session.Record {
	return session.Record{Data: []byte(data), TTL: ttl}
}

// NoID is an IDWriter that writes nothing.
func NoID(http.ResponseWriter, *http.Request, string) {}

// Deadline is a context that ends after some time.
func Deadline(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// Open opens a backend, and closes it at the end of the test.
func Open[Config any](
	t testing.TB, open func(context.Context, Config) (session.Backend, session.StoreConfig, error), config Config,
) session.Backend {
	t.Helper()
	b, _, err := open(context.Background(), config)
	return opened(t, b, err)
}

// OpenStore opens a store, and closes it at the end of the test.
func OpenStore(t testing.TB, initer session.Initer, config interface{}) session.Store {
	t.Helper()
	s, err := initer(context.Background(), config, session.IDWriter(NoID))
	return opened(t, s, err)
}

func opened[T any](t testing.TB, opened T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := any(opened).(io.Closer).Close(); err != nil {
			t.Error(err)
		}
	})
	return opened
}

// Operations are those of a backend that ask its server something.
func Operations(b session.Backend) map[string]func(context.Context) error {
	rec := Record("x", time.Minute)
	return map[string]func(context.Context) error{
		"load":   func(ctx context.Context) error { _, _, err := b.Load(ctx, "abc"); return err },
		"insert": func(ctx context.Context) error { _, err := b.Insert(ctx, "abc", rec); return err },
		"swap":   func(ctx context.Context) error { _, err := b.Swap(ctx, "abc", nil, rec); return err },
		"rename": func(ctx context.Context) error { _, err := b.Rename(ctx, "abc", "def", nil, rec); return err },
		"extend": func(ctx context.Context) error { return b.Extend(ctx, "abc", time.Minute) },
		"delete": func(ctx context.Context) error { return b.Delete(ctx, "abc") },
	}
}

// Winners returns how many of 64 calls of op at once report true.
func Winners(t testing.TB, op func(i int) (bool, error)) int {
	t.Helper()
	return Race(t, 64, op)
}

// Race runs op n times at once, and returns how many report true. None may fail.
func Race(t testing.TB, n int, op func(i int) (bool, error)) int {
	t.Helper()
	var (
		wins  atomic.Int64
		wg    sync.WaitGroup
		start = make(chan struct{})
		errs  = make(chan error, n)
	)
	for i := range n {
		wg.Go(func() {
			<-start
			ok, err := op(i)
			errs <- err
			if ok {
				wins.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	return int(wins.Load())
}
