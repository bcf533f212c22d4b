package postgres_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v4"

	"github.com/flamego/session/internal/deadline"
	"github.com/flamego/session/postgres"
)

// TestNoDriverName: whoever imports the package has no driver by it that is registered in
// database/sql, as both packages of pgx that register one take the name "pgx".
func TestNoDriverName(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatal(err, string(out))
	}
	for pkg := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(pkg, "github.com/jackc/pgx/") && strings.HasSuffix(pkg, "/stdlib") {
			t.Errorf("the package links %s", pkg)
		}
	}
	if !strings.Contains(string(out), "github.com/jackc/pgx/v4\n") {
		t.Error("the test does not see pgx")
	}
}

// slowEnd is a connection on which the last message takes long.
type slowEnd struct {
	net.Conn
	begun, goOn chan struct{}

	mu       sync.Mutex
	deadline time.Time
}

func (c *slowEnd) SetDeadline(t time.Time) error {
	c.mu.Lock()
	c.deadline = t
	c.mu.Unlock()
	return c.Conn.SetDeadline(t)
}

func (c *slowEnd) Write(b []byte) (int, error) {
	if b[0] == 'X' {
		close(c.begun)
		<-c.goOn
	}
	return c.Conn.Write(b)
}

// TestDeadlineOfTheEnd: after a timeout the driver says goodbye in a goroutine of
// its own, for which nobody takes its deadline away.
func TestDeadlineOfTheEnd(t *testing.T) {
	t.Parallel()
	login := []byte("R\x00\x00\x00\x08\x00\x00\x00\x00" + "Z\x00\x00\x00\x05I")
	config, err := pgx.ParseConfig(hostile(t, login, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	var end *slowEnd
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil || end != nil { // that one is for the request to cancel
			return c, err
		}
		end = &slowEnd{Conn: c, begun: make(chan struct{}), goOn: make(chan struct{})}
		return end, nil
	}
	c, err := postgres.Connector(*config).Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { close(end.goOn) }()

	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	short = deadline.WithoutDone(short)
	if err := c.(driver.SessionResetter).ResetSession(short); err != nil {
		t.Fatal(err)
	}
	_, err = c.(driver.ExecerContext).ExecContext(short, "SELECT $1", []driver.NamedValue{{Ordinal: 1, Value: "x"}})
	if err == nil {
		t.Fatal("a server that says nothing has answered")
	}
	<-end.begun
	check := func(when string) {
		t.Helper()
		end.mu.Lock()
		defer end.mu.Unlock()
		if left := time.Until(end.deadline); left < 5*time.Second || left > time.Minute {
			t.Errorf("%s the last message has %v", when, left)
		}
	}
	check("at first")
	if err := c.(driver.SessionResetter).ResetSession(ctx); !errors.Is(err, driver.ErrBadConn) {
		t.Errorf("ResetSession of what is closed: %v", err)
	}
	check("after ResetSession")
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	check("after Close")
}
