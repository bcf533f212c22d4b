package postgres

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v4"

	"github.com/flamego/session/internal/liveness"
	"github.com/flamego/session/internal/sqlstore"
)

const (
	// closeTimeout is how long the last message to the server may take.
	closeTimeout = time.Second
	// cancelTimeout is how long it may take to tell the server to end a statement.
	cancelTimeout = 500 * time.Millisecond
)

var (
	_ driver.ExecerContext     = (*conn)(nil)
	_ driver.QueryerContext    = (*conn)(nil)
	_ driver.Pinger            = (*conn)(nil)
	_ driver.SessionResetter   = (*conn)(nil)
	_ driver.Validator         = (*conn)(nil)
	_ driver.NamedValueChecker = (*conn)(nil)
)

// connector makes connections of pgx for database/sql. That of pgx itself is in a package
// that takes the name "pgx" among the drivers of database/sql, which an app on another
// version of pgx wants for itself.
type connector struct {
	config *pgx.ConnConfig
	conns  liveness.Conns
}

func newConnector(dsn string) (driver.Connector, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	// The default of pgx looks after a connection only every 5 minutes. It gets a
	// connect_timeout by its context as well.
	config.DialFunc = new(net.Dialer).DialContext
	return watched(config), nil
}

func watched(config *pgx.ConnConfig) *connector {
	c := &connector{config: config}
	config.DialFunc = c.conns.Dialer(config.DialFunc)
	return c
}

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := pgx.ConnectConfig(ctx, c.config)
	if err != nil {
		return nil, err
	}
	made := &conn{Conn: inner, network: liveness.Of(inner.PgConn().Conn())}
	if cache := inner.StatementCache(); cache != nil && cache.Mode() == prepares && !c.config.PreferSimpleProtocol {
		made.names, made.prefix = make(map[string]string), fmt.Sprintf("session_%016x_", rand.Uint64())
	}
	// Who waits for a locked row must have an answer when its time is over. The server
	// ends the statement, and the connection goes on.
	made.network.OnSilence = func(left time.Duration) {
		ctx, cancel := context.WithTimeout(context.Background(), min(left, cancelTimeout))
		defer cancel()
		_ = inner.PgConn().CancelRequest(ctx)
	}
	return made, nil
}

// DropIdle closes the idle connections.
func (c *connector) DropIdle() bool {
	c.conns.DropIdle()
	return true
}

func (c *connector) Driver() driver.Driver { return noDriver{} }

// noDriver is the driver of connections that only a connector makes.
type noDriver struct{}

var errNotUsed = errors.New("the sessions do not use this")

func (noDriver) Open(string) (driver.Conn, error) { return nil, errNotUsed }

// conn is a connection that has the deadline of the operation, and turns panics of pgx
// into errors. It can do what the backend needs: run a statement that pgx prepares by
// itself, and read rows of the types that a table of sessions has.
//
// It recovers around each call of pgx. To recover around the calls of database/sql would
// not be enough, because database/sql closes rows in a goroutine of its own when a
// context is done. After a panic the state of the connection is unknown, so IsValid
// keeps it out of the pool.
//
// When an operation fails halfway, pgx closes the connection in another goroutine, with
// another deadline. That deadline is left alone.
type conn struct {
	*pgx.Conn
	network  *liveness.Conn
	pooled   bool // has been in the pool
	panicked bool

	names  map[string]string // of the statements that are prepared; nil where none are
	prefix string            // of their names
	number int               // of the next name
	query  string            // the statement that runs
}

// guarded calls f, which may read what the server sends. What pgx has not sent may be
// tried again on another connection.
func guarded[T any](c *conn, f func() (T, error)) (result T, err error) {
	c.panicked = true
	defer sqlstore.Guard(&err)
	result, err = f()
	c.panicked = false
	if err != nil {
		c.forget(err)
		if unsent(err) {
			err = driver.ErrBadConn
		}
	}
	return result, err
}

// prepares is the mode in which pgx prepares statements under names.
const prepares = 0

// prepared returns the name under which a statement is prepared, or the statement itself if it
// is not to be prepared. pgx counts its names, so they are the same in each process. Behind a
// PgBouncer that does not follow prepared statements, a connection would run what another
// process has prepared under the same name. So these names are random.
func (c *conn) prepared(ctx context.Context, query string, args []driver.NamedValue) (string, error) {
	if c.query = query; c.names == nil || len(args) == 0 {
		return query, nil
	}
	if name, ok := c.names[query]; ok {
		return name, nil
	}
	name := c.prefix + strconv.Itoa(c.number)
	c.number++
	if _, err := c.Conn.Prepare(ctx, name, query); err != nil {
		if c.IsClosed() { // before the statement itself was sent
			err = errors.Join(driver.ErrBadConn, err)
		}
		return "", err
	}
	c.names[query] = name
	return name, nil
}

// forget has the statement that runs be prepared anew if the server does not know it, or if a table
// has changed.
func (c *conn) forget(err error) {
	var answer interface{ SQLState() string }
	if errors.As(err, &answer) && (answer.SQLState() == "26000" || answer.SQLState() == "0A000") {
		delete(c.names, c.query)
	}
}

// unsent reports whether pgx knows that it has sent nothing.
func unsent(err error) bool {
	var answer interface{ SafeToRetry() bool }
	return errors.As(err, &answer) && answer.SafeToRetry()
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return guarded(c, func() (driver.Result, error) {
		query, err := c.prepared(ctx, query, args)
		if err != nil {
			return nil, err
		}
		tag, err := c.Exec(ctx, query, values(args, 0)...)
		return driver.RowsAffected(tag.RowsAffected()), err
	})
}

// formats are the types that are read in binary. All others are read as text.
var formats = pgx.QueryResultFormatsByOID{bytea: pgx.BinaryFormatCode, int8: pgx.BinaryFormatCode}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return guarded(c, func() (driver.Rows, error) {
		query, err := c.prepared(ctx, query, args)
		if err != nil {
			return nil, err
		}
		all := values(args, 1)
		all[0] = formats
		r, err := c.Query(ctx, query, all...)
		if err != nil {
			return nil, err
		}
		return &rows{rows: r, conn: c}, nil
	})
}

// values are the values of args, after n others.
func values(args []driver.NamedValue, n int) []any {
	all := make([]any, n+len(args))
	for i, arg := range args {
		all[n+i] = arg.Value
	}
	return all
}

// CheckNamedValue leaves the arguments to pgx.
func (c *conn) CheckNamedValue(*driver.NamedValue) error { return nil }

func (c *conn) Ping(ctx context.Context) error {
	_, err := guarded(c, func() (any, error) { return nil, c.Conn.Ping(ctx) })
	return err
}

// ResetSession is called before each operation, with its context.
func (c *conn) ResetSession(ctx context.Context) error {
	pooled := c.pooled
	c.pooled = true
	if c.IsClosed() || c.network.IsDropped() || sqlstore.SetAttempt(ctx, c.network, pooled) != nil {
		return driver.ErrBadConn
	}
	return nil
}

func (c *conn) IsValid() bool { return !c.panicked && !c.IsClosed() }

// Close says goodbye to a server that is there.
func (c *conn) Close() error {
	if c.IsClosed() {
		return nil
	}
	if c.panicked || c.network.IsDropped() {
		return c.network.Close()
	}
	_ = c.network.SetDeadline(time.Now().Add(closeTimeout))
	return c.Conn.Close(context.Background())
}

// Prepare and Begin are part of the interface of a connection.
func (c *conn) Prepare(string) (driver.Stmt, error) { return nil, errNotUsed }
func (c *conn) Begin() (driver.Tx, error)           { return nil, errNotUsed }

// The numbers of types, which are the same in every PostgreSQL.
const (
	bytea = 17
	int8  = 20
)

// rows are rows that are read from a conn.
type rows struct {
	rows pgx.Rows
	conn *conn
}

// names are the names of columns, which the backend does not ask for.
var names [16]string

func (r *rows) Columns() []string { return names[:len(r.rows.FieldDescriptions())] }

// Next reads a row. Its bytes are valid until the next call, as database/sql copies them.
func (r *rows) Next(dest []driver.Value) error {
	_, err := guarded(r.conn, func() (any, error) { return nil, r.next(dest) })
	return err
}

func (r *rows) next(dest []driver.Value) error {
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return io.EOF
	}
	for i, raw := range r.rows.RawValues() {
		field := &r.rows.FieldDescriptions()[i]
		switch {
		case raw == nil:
			dest[i] = nil
		case field.Format == pgx.TextFormatCode && field.DataTypeOID == bytea: // of the simple protocol
			var data []byte
			if err := r.conn.ConnInfo().Scan(bytea, pgx.TextFormatCode, raw, &data); err != nil {
				return err
			}
			dest[i] = data
		case field.Format == pgx.TextFormatCode:
			dest[i] = string(raw)
		case field.DataTypeOID == int8 && len(raw) == 8:
			dest[i] = int64(binary.BigEndian.Uint64(raw))
		default:
			dest[i] = raw
		}
	}
	return nil
}

func (r *rows) Close() error {
	_, err := guarded(r.conn, func() (any, error) {
		r.rows.Close()
		return nil, r.rows.Err()
	})
	return err
}
