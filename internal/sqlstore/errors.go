package sqlstore

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/flamego/session/internal/redact"
)

// Class is what an error means to the backend.
type Class int

const (
	// Other errors are returned as they are.
	Other Class = iota
	// Duplicate says that there is a row with the key.
	Duplicate
	// NoTable says that there is no such table.
	NoTable
	// NoColumn says that the table has no such column.
	NoColumn
	// Again says that nothing was done and that another attempt may succeed, as after a
	// deadlock, or when a statement has to be prepared anew.
	Again
	// Locked says that nothing was done because somebody else holds a lock. Attempts go
	// on for as long as the context lets them.
	Locked
	// Broken says that the connection is lost. The operation may have been done or not.
	Broken
	// Starting says that the server is not ready yet.
	Starting
	// KeyTooLong says that the server makes no index on a column of such a length.
	KeyTooLong
	// Full says that the server has no connection for us. Attempts go on as for Locked.
	Full
	// ReadOnly says that the server takes no writes, as after a failover: its connections
	// are closed. Attempts go on as for Locked.
	ReadOnly
	// Unprepared says that the server prepares no more statements.
	Unprepared
)

// answered is the answer of the server. A redacted error wraps it, so that the answer can
// still be found in the error.
type answered struct {
	error
	code string
}

func (a *answered) Unwrap() error { return a.error }

// answer finds the answer of the server in an error, which may be redacted already.
func (d *Dialect) answer(err error) (code string, ok bool) {
	if a := (*answered)(nil); errors.As(err, &a) {
		return a.code, true
	}
	code, _, ok = d.ServerError(err)
	return code, ok
}

// class tells what an error means.
func (d *Dialect) class(err error) Class {
	if code, ok := d.answer(err); ok {
		for class, codes := range d.Codes {
			if slices.Contains(codes, code) {
				return class
			}
		}
		return Other
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		if op.Op == "dial" || op.Timeout() && errors.As(err, new(unsentError)) {
			return Other // a new connection would not help
		}
		return Broken
	}
	lost := []error{driver.ErrBadConn, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed}
	for _, broken := range slices.Concat(d.Broken, lost) {
		if errors.Is(err, broken) {
			return Broken
		}
	}
	return Other
}

// contextErr is the redacted error of an operation whose context is done. The error of
// the driver may not say so, or say it in other words. Locked says that an attempt ended
// because somebody else held a lock: then the operation has waited for a lock.
func (b *backend) contextErr(p *pool, done, err error, locked bool) error {
	switch {
	case locked || b.dialect.class(err) == Locked:
		text := done.Error() + " (" + lockHint
		if _, last, ok := b.dialect.ServerError(err); ok {
			text += "; the server has said: " + last
		}
		return redact.New(text+")", errors.Join(done, err))
	case errors.Is(err, done) && p.busy():
		return redact.New(done.Error()+" (all connections of the DB are in use; "+
			"a transaction of the handler that is still open when the response begins may be why: commit it first)", err)
	case errors.Is(err, done):
		return b.redacted(err)
	default:
		return redact.New(done.Error()+" ("+b.redacted(err).Error()+")", errors.Join(done, err))
	}
}

// mayStart reports whether an error at start may be that of a server, or of a network,
// that is still starting.
func (d *Dialect) mayStart(err error) bool {
	var op *net.OpError
	switch d.class(err) {
	case Broken, Starting:
		return true
	case Other:
		return errors.As(err, new(*net.DNSError)) || errors.As(err, &op) && op.Op == "dial"
	}
	return false
}

// lockHint is for those who see an operation fail because of a lock. The lock is often
// their own: the session is saved when the response begins, in which a transaction of the
// handler may still be open.
const lockHint = "somebody else held a lock on the table or the file for all that time;" +
	" it may be a transaction of the handler that is still open when the response begins: commit it first"

// redacted is the redacted error of the dialect. If the table is missing, the text says
// so in our own words.
func (b *backend) redacted(err error) error {
	if err != nil && b.dialect.class(err) == NoTable {
		return redact.New(fmt.Sprintf("there is no table %q (InitTable makes it)", b.name.table), b.dialect.redacted(err))
	}
	return b.dialect.redacted(err)
}

// Guard turns a panic into an error. Drivers parse what a server sends, and
// pgproto3/v2 can be made to panic by it. Drivers also parse what is in a DSN.
func Guard(err *error) {
	if v := recover(); v != nil {
		*err = redact.New(fmt.Sprintf("the driver panicked with a %T", v), nil)
	}
}
