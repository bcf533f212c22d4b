package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"time"

	"modernc.org/sqlite"
)

// walPatience is how long a connection asks for a WAL while others use the file. Stores
// that start together are soon out of each other's way, but somebody who reads the file
// may go on for hours.
const walPatience = time.Second

// setting is a setting of SQLite for which this package has a default.
type setting struct {
	pragma string
	keys   []string // parameters of a DSN that set it too
}

var (
	busyTimeout = setting{"busy_timeout", []string{"_busy_timeout", "_timeout"}}
	journalMode = setting{"journal_mode", []string{"_journal_mode", "_journal"}}
	synchronous = setting{"synchronous", []string{"_synchronous", "_sync"}}
)

// isSet reports whether the parameters of a DSN set s.
func (s setting) isSet(params url.Values) bool {
	return slices.ContainsFunc(s.keys, params.Has) || slices.ContainsFunc(params["_pragma"], func(pragma string) bool {
		return strings.HasPrefix(strings.ToLower(strings.TrimSpace(pragma)), s.pragma)
	})
}

// connector makes connections with the defaults of this package. The busy_timeout is in
// the DSN. The other defaults depend on the file, so each new connection is given them.
type connector struct {
	driver.Connector
	wal    bool // ask for a WAL
	normal bool // with a WAL, set synchronous to NORMAL

	watch *watch // of the file, for all connections of a store; nil if there is none
}

func newConnector(dsn string) (driver.Connector, error) {
	_, query, found := strings.Cut(dsn, "?")
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	if !busyTimeout.isSet(params) {
		sep := "?"
		if found {
			sep = "&"
		}
		dsn += sep + "_pragma=busy_timeout(100)"
	}
	c, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return connector{
		Connector: c, wal: !journalMode.isSet(params), normal: !synchronous.isSet(params),
		watch: newWatch(dsn, params.Has("vfs")),
	}, nil
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	if c.watch == nil {
		return c.connect(ctx)
	}
	return c.watch.connect(func() (driver.Conn, error) { return c.connect(ctx) })
}

func (c connector) connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.setUp(ctx, conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// setUp asks for a WAL, and sets synchronous to NORMAL if there is one. With any other
// journal, synchronous stays FULL, the default of SQLite: with NORMAL a loss of power may
// damage the file.
func (c connector) setUp(ctx context.Context, conn driver.Conn) error {
	mode, err := pragma(ctx, conn, "journal_mode")
	if err != nil {
		return err
	}
	if c.wal && mode != "wal" {
		if mode, err = askForWAL(ctx, conn); err != nil {
			return err
		}
	}
	if c.normal && mode == "wal" {
		_, err = pragma(ctx, conn, "synchronous = NORMAL")
	}
	return err
}

// askForWAL changes the journal of the file to a WAL if it can. It returns the journal
// that the file has then, and "" if it does not know. During the change nobody else may
// use the file, and while SQLite waits for them, it lets nobody begin. So SQLite waits for
// 100 ms at a time, even if the DSN has a longer busy_timeout.
func askForWAL(ctx context.Context, conn driver.Conn) (mode string, err error) {
	timeout, err := pragma(ctx, conn, "busy_timeout")
	if err != nil {
		return "", err
	}
	if _, err := pragma(ctx, conn, "busy_timeout = 100"); err != nil {
		return "", err
	}
	patience := walPatience
	if end, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(end)/2)
	}
	for until := time.Now().Add(patience); ; time.Sleep(rand.N(20 * time.Millisecond)) {
		mode, err = pragma(ctx, conn, "journal_mode = WAL")
		if !isBusy(err) || time.Now().After(until) {
			break // perhaps without a WAL, as when the file is read-only
		}
	}
	_, err = pragma(ctx, conn, "busy_timeout = "+timeout)
	return mode, err
}

func isBusy(err error) bool {
	const sqliteBusy = 5
	var answer *sqlite.Error
	return errors.As(err, &answer) && answer.Code()&0xff == sqliteBusy
}

// pragma runs a pragma and returns its answer, or "" if it has none.
func pragma(ctx context.Context, conn driver.Conn, text string) (string, error) {
	return answer(ctx, conn, "PRAGMA "+text)
}

// answer returns the first value that a query returns, or "" if it has none.
func answer(ctx context.Context, conn driver.Conn, query string) (string, error) {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, query, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	row := make([]driver.Value, len(rows.Columns()))
	if len(row) == 0 {
		return "", nil
	}
	switch err := rows.Next(row); {
	case errors.Is(err, io.EOF):
		return "", nil
	case err != nil:
		return "", err
	}
	return fmt.Sprint(row[0]), nil
}
