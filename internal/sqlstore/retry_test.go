package sqlstore_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/session/internal/sqlstore"
)

// refusing is a connection whose server refuses all but the last statement, and does not answer that.
type refusing struct {
	driver.Conn
	refusals int
	last     error // after the last statement
}

var errRefused, errLost = errors.New("refused"), errors.New("lost")

func (c *refusing) Connect(context.Context) (driver.Conn, error) { return c, nil }
func (c *refusing) Driver() driver.Driver                        { return nil }
func (c *refusing) Close() error                                 { return nil }

func (c *refusing) ExecContext(ctx context.Context, _ string, _ []driver.NamedValue) (driver.Result, error) {
	if c.refusals--; c.refusals >= 0 {
		return nil, errRefused
	}
	end, _ := ctx.Deadline()
	time.Sleep(time.Until(end))
	return nil, c.last
}

// TestLastAnswer: when the time is over in the middle of an attempt, the error has what the server
// has said before.
func TestLastAnswer(t *testing.T) {
	classes := []sqlstore.Class{sqlstore.Full, sqlstore.ReadOnly, sqlstore.Locked, sqlstore.Again}
	for _, last := range []error{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, errLost} {
		for _, class := range classes {
			synctest.Test(t, func(t *testing.T) { testLastAnswer(t, class, last) })
		}
	}
}

func testLastAnswer(t *testing.T, class sqlstore.Class, last error) {
	c := &refusing{refusals: 3, last: last}
	dialect := &sqlstore.Dialect{
		Name: "fake", Quote: '"', Timed: true,
		Connector: func(string) (driver.Connector, error) { return c, nil },
		Codes:     map[sqlstore.Class][]string{class: {"1"}},
		Broken:    []error{errLost},
		ServerError: func(err error) (code, text string, ok bool) {
			return "1", "what the server says", errors.Is(err, errRefused)
		},
	}
	b, _, err := dialect.Open(t.Context(), sqlstore.Config{DSN: "any"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err = b.Delete(ctx, "session1")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "what the server says") {
		t.Errorf("class %d, %v: the error is %v", class, last, err)
	}
	if c.refusals != -1 {
		t.Errorf("class %d: %d refusals are left", class, c.refusals)
	}
	if err := b.(interface{ Close() error }).Close(); err != nil {
		t.Error(err)
	}
}
