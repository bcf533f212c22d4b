package mysql

import (
	"context"
	"database/sql/driver"
	"net"

	"github.com/go-sql-driver/mysql"

	"github.com/flamego/session/internal/deadline"
)

// canTime reports whether connections can be given deadlines: what the network
// "tcp" means may be changed only by a name of its own, and timeouts of the driver
// set the deadline of the connection too.
func canTime(config *mysql.Config) bool {
	return (config.Net == "tcp" || config.Net == "unix") && config.DialFunc == nil &&
		config.ReadTimeout == 0 && config.WriteTimeout == 0
}

type dialed struct{} // the key of a *net.Conn

// dial dials as the driver does, and tells who asked for the connection. The
// driver has no other way to get at it.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if p, ok := ctx.Value(dialed{}).(*net.Conn); ok {
		*p = conn
	}
	return conn, err
}

// connector makes connections of type conn.
type connector struct{ driver.Connector }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	var network net.Conn
	inner, err := c.Connector.Connect(context.WithValue(ctx, dialed{}, &network))
	if err != nil {
		return nil, err
	}
	return conn{inner.(driverConn), network}, nil
}

// driverConn is what database/sql looks for in a connection of the driver.
type driverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// conn is a connection that ends at the deadline of an operation.
type conn struct {
	driverConn
	network net.Conn
}

// ResetSession is called before each operation, with its context.
func (c conn) ResetSession(ctx context.Context) error {
	if err := deadline.Set(c.network, ctx); err != nil {
		return driver.ErrBadConn
	}
	return c.driverConn.ResetSession(ctx)
}

func (c conn) Close() error {
	_ = deadline.Set(c.network, context.Background()) // time to say goodbye
	return c.driverConn.Close()
}
