package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"time"
)

// The pool that a store opens itself. So many connections serve thousands of
// requests a second and leave room for other instances on a server with its
// default of 100 or 151 connections. They are renewed now and then, so that a
// server behind a load balancer can be taken out of service.
const (
	poolSize       = 16
	poolIdleTime   = 5 * time.Minute
	poolLifetime   = 30 * time.Minute
	connectTimeout = 5 * time.Second
)

// openPool opens a pool of our own.
func openPool(c driver.Connector, single bool) *sql.DB {
	db := sql.OpenDB(&connector{Connector: c})
	if single {
		db.SetMaxOpenConns(1)
		db.SetMaxIdleConns(1)
		return db
	}
	db.SetMaxOpenConns(poolSize)
	db.SetMaxIdleConns(poolSize)
	db.SetConnMaxIdleTime(poolIdleTime)
	db.SetConnMaxLifetime(poolLifetime)
	return db
}

// connector bounds the time of a connect and keeps its panics in. Package
// database/sql connects in a goroutine of its own too, with a context that is
// never done and without a recover: after a while of dropped packets all of the
// pool would hang in dials for minutes after the server is back.
type connector struct{ driver.Connector }

func (c *connector) Connect(ctx context.Context) (conn driver.Conn, err error) {
	defer Guard(&err)
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return c.Connector.Connect(ctx)
}

// Close is called by sql.DB.Close.
func (c *connector) Close() error {
	if closer, ok := c.Connector.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}
