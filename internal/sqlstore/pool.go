package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/flamego/session/internal/backoff"
	"github.com/flamego/session/internal/deadline"
	"github.com/flamego/session/internal/liveness"
)

// The settings of a pool that the store opens. 16 connections serve thousands of
// requests a second, and leave room for other instances of the app on a server that
// allows 100 or 151 connections, as PostgreSQL and MySQL do by default. Connections are
// renewed now and then, so that a server behind a load balancer can be taken out of
// service.
const (
	poolSize       = 16
	poolLifetime   = 30 * time.Minute
	connectTimeout = 5 * time.Second

	// readers is how many connections there are beside one that writes.
	readers = 8
)

// pool is where an operation gets a connection.
type pool struct {
	*sql.DB
	dialect   *Dialect
	connector *connector // nil if DB is shared
	gate      *gate      // one place for each connection
	timed     bool       // see Dialect.Timed

	drops atomic.Pointer[drops] // see mayDrop
	front atomic.Pointer[error] // see note
	blind atomic.Bool           // the connections are not known: see dropIdle

	// waiting has the operations that try once more to get a lock. There are few at a
	// time, so that they leave connections to the others.
	waiting *gate
}

// sharedPool is a pool of the app. Its own limit, if it has one, lets operations wait.
func sharedPool(d *Dialect, db *sql.DB) *pool {
	return &pool{DB: db, dialect: d, gate: newGate(0), waiting: newGate(0)}
}

// openPool opens a pool of n connections, which are kept for good or renewed.
func openPool(d *Dialect, c driver.Connector, n int, keep bool) *pool {
	p := &pool{
		dialect: d, connector: &connector{Connector: c}, gate: newGate(n), waiting: newGate(max(1, n/4)),
		timed: d.Timed,
	}
	if c, ok := c.(interface{ Timed() bool }); ok {
		p.timed = c.Timed()
	}
	p.DB = sql.OpenDB(p.connector)
	// The gate limits the connections. The limit of database/sql would count those that
	// are still being closed, and make an operation wait beyond its deadline.
	p.SetMaxOpenConns(0)
	p.SetMaxIdleConns(n)
	if !keep {
		p.SetConnMaxIdleTime(liveness.IdleTime)
		p.SetConnMaxLifetime(poolLifetime)
	}
	return p
}

// use calls f when there is a connection for it. The context of f has the deadline of
// ctx. Where the deadline alone is enough to end f, the context of f is never done. The
// argument locked says that somebody else held a lock at the attempt before.
func (p *pool) use(ctx context.Context, locked bool, f func(context.Context) error) (err error) {
	defer Guard(&err)
	if err := ctx.Err(); err != nil {
		return unsentError{err} // an operation that has no time left would break a connection
	}
	if locked {
		if err := p.waiting.enter(ctx); err != nil {
			return unsentError{err}
		}
		defer p.waiting.leave()
	}
	if err := p.gate.enter(ctx); err != nil {
		if front := p.front.Load(); front != nil {
			err = errors.Join(err, *front)
		}
		return unsentError{err}
	}
	err = p.inside(ctx, f)
	p.note(err)
	return err
}

// note notes the error of an operation that somebody else's lock has held up, until one
// succeeds. In a pool of one connection, all who wait for the connection wait for that lock, and
// those whose time is over before it is their turn can say so.
func (p *pool) note(err error) {
	switch {
	case p.gate.most != 1:
	case err != nil && p.dialect.class(err) == Locked:
		locked := err // or each call would allocate err
		p.front.Store(&locked)
	case err == nil && p.front.Load() != nil:
		p.front.Store(nil)
	}
}

// errNotFree says that all connections are in use.
var errNotFree = errors.New("no connection is free")

// useFree calls f if there is a connection for it at once.
func (p *pool) useFree(ctx context.Context, f func(context.Context) error) (err error) {
	defer Guard(&err)
	if err := ctx.Err(); err != nil {
		return err
	}
	if !p.gate.tryEnter() {
		return errNotFree
	}
	return p.inside(ctx, f)
}

// inside calls f for a caller who is in the gate, and lets the caller out.
func (p *pool) inside(ctx context.Context, f func(context.Context) error) (err error) {
	within := ctx
	if _, ok := ctx.Deadline(); ok && p.timed {
		within = deadline.WithoutDone(ctx)
	}
	panicked := true
	defer func() {
		if panicked || err == nil || p.dialect.class(err) != Full {
			p.gate.leave()
			return
		}
		if p.Stats().OpenConnections == 0 { // the server may be full for long
			_ = backoff.Pause(ctx, 10, maxWait)
		}
		p.gate.full()
	}()
	err = f(within)
	panicked = false
	return err
}

// busy reports whether all connections of a pool that is shared are in use.
func (p *pool) busy() bool {
	s := p.Stats()
	return p.connector == nil && s.MaxOpenConnections > 0 && s.InUse >= s.MaxOpenConnections
}

// drops are how often connections were closed in a second.
type drops struct {
	since time.Time
	open  int64 // how many connections there were then
	n     atomic.Int64
}

// mayDrop reports whether to close connections once more. A server that takes no writes for
// long gets only so many new connections: in a second as many as the pool has.
func (p *pool) mayDrop() bool {
	d := p.drops.Load()
	if d == nil || time.Since(d.since) > time.Second {
		p.drops.CompareAndSwap(d, &drops{since: time.Now(), open: int64(p.Stats().OpenConnections)})
		d = p.drops.Load()
	}
	most := int64(1) // once closes all
	if p.blind.Load() {
		most = max(1, d.open)
	}
	return d.n.Add(1) <= most
}

// dropIdle closes idle connections, whose server takes no writes any more. Where they are
// not known, as in a pool that is shared, it takes one after the other out of the pool.
// If one of them is good, no harm is done.
func (p *pool) dropIdle(ctx context.Context) {
	if !p.mayDrop() {
		return
	}
	if p.connector != nil {
		if c, ok := p.connector.Connector.(interface{ DropIdle() bool }); ok && c.DropIdle() {
			return
		}
	}
	p.blind.Store(true)
	for p.dropOne(ctx) && p.Stats().Idle > 0 && p.mayDrop() {
	}
}

// dropOne closes one connection of the pool. It reports false if it gets none.
func (p *pool) dropOne(ctx context.Context) bool {
	c, err := p.Conn(ctx)
	if err != nil {
		return false
	}
	_ = c.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.Close()
	return true
}

// connector makes connections within a time limit, turns panics into errors, and gives
// a new connection the deadline of its first operation.
type connector struct{ driver.Connector }

func (c *connector) Connect(ctx context.Context) (conn driver.Conn, err error) {
	defer func() {
		if err != nil {
			err = unsentError{err}
		}
	}()
	defer Guard(&err)
	watched, cancel := deadline.Watched(ctx, connectTimeout)
	defer cancel()
	conn, err = c.Connector.Connect(watched)
	if err != nil {
		return nil, err
	}
	if r, ok := conn.(driver.SessionResetter); ok {
		if err := r.ResetSession(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// Close is called by sql.DB.Close.
func (c *connector) Close() error {
	if closer, ok := c.Connector.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}
