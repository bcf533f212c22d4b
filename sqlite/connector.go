package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"time"

	"modernc.org/sqlite"
)

// walPatience is how long a connection asks for a WAL that others are in the way
// of: stores that start together have it soon, somebody who reads may go on for
// hours.
const walPatience = time.Second

// setting is one that has a default.
type setting struct {
	pragma string
	keys   []string // what else the driver calls it in a DSN
}

var (
	busyTimeout = setting{"busy_timeout", []string{"_busy_timeout", "_timeout"}}
	journalMode = setting{"journal_mode", []string{"_journal_mode", "_journal"}}
	synchronous = setting{"synchronous", []string{"_synchronous", "_sync"}}
)

// isSet reports whether the parameters of a DSN have the setting.
func (s setting) isSet(params url.Values) bool {
	return slices.ContainsFunc(s.keys, params.Has) || slices.ContainsFunc(params["_pragma"], func(pragma string) bool {
		return strings.HasPrefix(strings.ToLower(strings.TrimSpace(pragma)), s.pragma)
	})
}

// connector adds the defaults: the timeout in the DSN, and then what depends on
// what the file can have.
type connector struct {
	driver.Connector
	wal    bool // try to get one
	normal bool // synchronous NORMAL with a WAL
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
	return connector{c, !journalMode.isSet(params), !synchronous.isSet(params)}, nil
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
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

// setUp gives a connection what goes with the journal. FULL, which SQLite has by
// itself, is right for all but a WAL: with NORMAL a loss of power may damage a
// file that has another journal.
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

// askForWAL changes the journal of the file if it can and returns which one it is
// then, if it is known. For the change nobody else may use the file; while SQLite
// waits for that it keeps others from beginning to, so it waits no longer at a time
// than by default.
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
		if code, _, _ := serverError(err); code != busy || time.Now().After(until) {
			break // without a WAL, too, if the file is read-only
		}
	}
	_, err = pragma(ctx, conn, "busy_timeout = "+timeout)
	return mode, err
}

// pragma runs a pragma and returns its answer, if it has one.
func pragma(ctx context.Context, conn driver.Conn, text string) (answer string, err error) {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, "PRAGMA "+text, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	row := make([]driver.Value, len(rows.Columns()))
	if len(row) == 0 {
		return "", nil
	}
	err = rows.Next(row)
	return fmt.Sprint(row[0]), err
}
