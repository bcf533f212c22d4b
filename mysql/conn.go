package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/flamego/session/internal/liveness"
	"github.com/flamego/session/internal/sqlstore"
)

// closeTimeout is how long the last message to the server may take.
const closeTimeout = time.Second

// connector makes connections of the driver that have the deadline of an operation. The
// driver itself would have a goroutine watch each operation, which costs two wake-ups.
type connector struct {
	driver.Connector
	conns          liveness.Conns
	watched, timed bool

	// without is for a server that has no InnoDB, and so not all variables that are set.
	without  driver.Connector
	noInnoDB atomic.Bool
}

// dialed is the key of a context under which the dial function leaves its connection.
type dialed struct{}

func newConnector(dsn string) (driver.Connector, error) {
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	config.Logger = &mysql.NopLogger{} // it would only log errors that are also returned
	config.ClientFoundRows = true      // see the Swap of the backend
	if config.Params == nil {
		config.Params = make(map[string]string)
	}
	config.Params["autocommit"] = "1" // without it no change would be committed
	// Who waits for a locked row holds a connection, and goes on holding it on the server
	// when the client has given up. So nobody waits for 50 seconds or for a year.
	given := setDefault(config.Params, innoDBLockWait, "1")
	setDefault(config.Params, "lock_wait_timeout", "1")

	c := new(connector)
	// The name of a network may be that of a dial function of the app, which only the
	// driver knows.
	if slices.Contains([]string{"tcp", "unix"}, config.Net) {
		// A timeout of the driver for each piece would take the place of the deadline.
		c.watched = true
		c.timed = config.ReadTimeout == 0 && config.WriteTimeout == 0
		dial := c.conns.Dialer(new(net.Dialer).DialContext)
		config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err == nil {
				*ctx.Value(dialed{}).(*net.Conn) = conn
			}
			return conn, err
		}
	}
	if c.Connector, err = mysql.NewConnector(config); err != nil || given {
		return c, err
	}
	config = config.Clone()
	delete(config.Params, innoDBLockWait)
	c.without, err = mysql.NewConnector(config)
	return c, err
}

const (
	innoDBLockWait  = "innodb_lock_wait_timeout"
	unknownVariable = 1193
)

// setDefault sets a system variable, unless it is given in params under any of its names.
func setDefault(params map[string]string, variable, value string) (given bool) {
	for name := range params {
		name = strings.ToLower(strings.TrimSpace(name))
		for _, prefix := range []string{"@@", "session.", "session ", "local.", "local "} {
			name = strings.TrimSpace(strings.TrimPrefix(name, prefix))
		}
		if name == variable {
			return true
		}
	}
	params[variable] = value
	return false
}

// Timed reports whether the connections have the deadline of an operation.
func (c *connector) Timed() bool { return c.timed }

// DropIdle closes the idle connections, and reports false if they are not known.
func (c *connector) DropIdle() bool {
	c.conns.DropIdle()
	return c.watched
}

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	var network net.Conn
	ctx = context.WithValue(ctx, dialed{}, &network)
	from := c.Connector
	if c.noInnoDB.Load() {
		from = c.without
	}
	inner, err := from.Connect(ctx)
	if answer := (*mysql.MySQLError)(nil); errors.As(err, &answer) && answer.Number == unknownVariable && c.without != nil {
		c.noInnoDB.Store(true)
		inner, err = c.without.Connect(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &conn{driverConn: inner.(driverConn), network: liveness.Of(network)}, nil
}

// driverConn is what a connection of the driver can do.
type driverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	driver.NamedValueChecker
}

// conn is a connection that has the deadline of the operation.
type conn struct {
	driverConn
	network *liveness.Conn // nil if the app has made it
	pooled  bool           // has been in the pool
}

// ResetSession is called before each operation, with its context.
func (c *conn) ResetSession(ctx context.Context) error {
	if c.network != nil {
		pooled := c.pooled
		c.pooled = true
		if c.network.IsDropped() || sqlstore.SetAttempt(ctx, c.network, pooled) != nil {
			return driver.ErrBadConn
		}
	}
	return c.driverConn.ResetSession(ctx)
}

// PrepareContext says of a connection that it loses that the statement itself was not sent. So the
// statement may be tried again on another connection.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	stmt, err := c.driverConn.PrepareContext(ctx, query)
	if err != nil && !c.IsValid() {
		err = errors.Join(driver.ErrBadConn, err)
	}
	return stmt, err
}

// Close says goodbye, which must not take long if the server hangs.
func (c *conn) Close() error {
	if c.network != nil {
		_ = c.network.SetDeadline(time.Now().Add(closeTimeout))
	}
	return c.driverConn.Close()
}
