// Package backendtest is what tests of backends say often, beside the rules that
// package storetest proves of all of them.
package backendtest

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

// Opened returns what was opened without an error, and closes it at the end of the
// test.
func Opened[T any](t testing.TB, opened T, err error) T {
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
