package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"net"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/attempts"
	"github.com/flamego/session/internal/backoff"
	"github.com/flamego/session/internal/deadline"
	"github.com/flamego/session/internal/redact"
)

// Two attempts are at most maxPause apart. Who waits for a server to have room or to take
// writes again waits for longer: maxWait.
const (
	maxPause = 20 * time.Millisecond
	maxWait  = 100 * time.Millisecond
)

// mode says what may be done with an operation whose outcome is not known.
type mode bool

const (
	// once is for operations that may be done only once: a second attempt would be
	// refused if the first one was made, and nobody could tell that from a conflict.
	// They are tried again only if the attempt before has surely done nothing.
	once mode = false
	// freely is for operations that may be repeated.
	freely mode = true
)

// retry calls f, and again as long as that is right and may help.
//
// A restart of the server leaves a pool full of broken connections, of which each
// attempt removes one. So there are as many attempts as connections, and a few more.
func (b *backend) retry(ctx context.Context, p *pool, m mode, f func(context.Context) error) error {
	limit, locked := 0, false
	var before, said error // of the attempt before, and the last one that the server has said
	for n := 0; ; n++ {
		err := p.use(ctx, locked, f)
		if err == nil {
			return nil
		}
		class := b.dialect.class(err)
		if done := deadline.Err(ctx); done != nil {
			reason := err // unless the last attempt had no time to find out more
			switch {
			case before != nil && errors.Is(err, done):
				reason = before
			case said != nil && b.isCutOff(err):
				reason = said
			}
			return b.notApplied(p, b.contextErr(p, done, reason, locked), class, err)
		}
		locked, before = class == Locked, err
		if _, _, ok := b.dialect.ServerError(err); ok {
			said = err
		}
		if n == 0 {
			limit = p.Stats().OpenConnections + 8
		}
		pause := maxPause
		again := n < limit
		switch class {
		case Again:
		case Broken:
			again = again && (m == freely || p.unsent(err))
		case Locked:
			again = true
		case Full:
			again, pause = true, maxWait
		case ReadOnly:
			p.dropIdle(ctx)
			again, pause = true, maxWait
		default:
			again = false
		}
		if !again {
			return b.notApplied(p, b.redacted(err), class, err)
		}
		_ = backoff.Pause(ctx, n, pause) // if ctx is done, f says so too
		attempts.Again(ctx)
	}
}

// isCutOff reports whether an attempt may have ended by the deadline of its connection. The driver
// of MySQL only says that the connection is lost.
func (b *backend) isCutOff(err error) bool {
	if _, _, answered := b.dialect.ServerError(err); answered {
		return false
	}
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || b.dialect.class(err) == Broken
}

// notApplied returns text, a redacted error, with session.ErrNotApplied in it if err says
// that nothing was done.
func (b *backend) notApplied(p *pool, text error, class Class, err error) error {
	_, _, answered := b.dialect.ServerError(err)
	if answered && class != Broken || p.unsent(err) {
		return redact.New(text.Error(), errors.Join(session.ErrNotApplied, text))
	}
	return text
}

// unsentError is an error before anything was sent: there was no connection.
type unsentError struct{ error }

func (e unsentError) Unwrap() error { return e.error }

// unsent reports whether the statement was surely not sent. A driver should return
// driver.ErrBadConn only then. The drivers of the store's own pools do. One of a pool that is
// shared may not: see onConn.
func (p *pool) unsent(err error) bool {
	var op *net.OpError
	return errors.As(err, new(unsentError)) || errors.As(err, &op) && op.Op == "dial" ||
		p.connector != nil && errors.Is(err, driver.ErrBadConn)
}
