package sqlstore_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamego/session/internal/sqlstore"
)

// connector makes one connection, which breaks, and then misbehaves.
type connector struct {
	driver.Connector
	connects atomic.Int64
	unbound  atomic.Int64 // connects without a deadline
	waiting  chan struct{}
	release  chan struct{}
}

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	if _, ok := ctx.Deadline(); !ok {
		c.unbound.Add(1)
	}
	if c.connects.Add(1) > 1 {
		panic("hostile")
	}
	return &conn{c: c}, nil
}

type conn struct {
	driver.Conn
	c *connector
}

func (*conn) Close() error { return nil }

func (n *conn) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	n.c.waiting <- struct{}{}
	<-n.c.release
	return nil, driver.ErrBadConn
}

// TestConnectIsBound: whatever the context of an operation, a driver dials with a
// deadline, and has one that it can watch.
func TestConnectIsBound(t *testing.T) {
	t.Parallel()
	c := &connector{waiting: make(chan struct{}, 1), release: make(chan struct{})}
	dialect := &sqlstore.Dialect{
		Name: "fake", Quote: '"', Single: true,
		Connector:   func(string) (driver.Connector, error) { return c, nil },
		ServerError: func(error) (code, text string, ok bool) { return "", "", false },
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	b, _, err := dialect.Open(ctx, sqlstore.Config{DSN: "any"})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if err := b.Delete(ctx, "session1"); err == nil {
				t.Error("no error")
			}
		})
	}
	<-c.waiting
	time.Sleep(50 * time.Millisecond) // the other one has to wait for the connection
	close(c.release)
	wg.Wait()
	if c.connects.Load() < 2 || c.unbound.Load() > 0 {
		t.Errorf("%d of %d connects without a deadline", c.unbound.Load(), c.connects.Load())
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	f := func(what interface{}) (err error) {
		defer sqlstore.Guard(&err)
		panic(what)
	}
	if err := f(errors.New("secret")); err == nil || err.Error() != "the driver panicked with a *errors.errorString" {
		t.Error(err)
	}
}
