package sqlstore

import (
	"context"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"

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
	// Again says that nothing was done and that another attempt may succeed, as after a
	// deadlock, or when a statement has to be prepared anew.
	Again
	// Locked says that nothing was done because somebody else holds a lock. Attempts go
	// on for as long as the context lets them.
	Locked
	// Broken says that the connection is lost. The operation may have been done or not.
	Broken
	// Full says that the server has no connection for us. Attempts go on as for Locked.
	Full
	// ReadOnly says that the server takes no writes, as after a failover: its connections
	// are closed. Attempts go on as for Locked.
	ReadOnly
	// Unprepared says that the server prepares no more statements.
	Unprepared
)

// class tells what an error means.
func (d *Dialect) class(err error) Class {
	if code, _, ok := d.ServerError(err); ok {
		for class, codes := range d.Codes {
			if slices.Contains(codes, code) {
				return class
			}
		}
		return Other
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		if op.Op == "dial" || op.Timeout() && unsent(err) {
			return Other // the server does not answer, whatever the connection
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
// the driver may not say so, or say it in other words.
func (b *backend) contextErr(p *pool, done, err error) error {
	switch {
	case errors.Is(err, done) && p.busy():
		return redact.New(done.Error()+" (all connections of the DB are in use; "+
			"a transaction of the handler that is still open may be why)", err)
	case errors.Is(err, done):
		return b.redacted(err)
	default:
		return redact.New(done.Error()+" ("+b.redacted(err).Error()+")", errors.Join(done, err))
	}
}

// redacted is the redacted error of the dialect. If the table is missing, the text says
// so in our own words.
func (b *backend) redacted(err error) error {
	if err != nil && b.dialect.class(err) == NoTable {
		return redact.New(fmt.Sprintf("there is no table %q (InitTable makes it)", b.name.table), err)
	}
	return b.dialect.redacted(err)
}

// redacted returns err with a text that is safe to show, and nil if err is nil. The text
// of the driver may hold session IDs and pieces of the DSN. Not even the host of a DSN is
// safe: of a password with an unescaped "@" or "/", a part is taken for the host.
func (d *Dialect) redacted(err error) error {
	if err == nil {
		return nil
	}
	if already := (*redact.Error)(nil); errors.As(err, &already) {
		return err
	}
	return redact.New(d.redactedText(err), err)
}

// redactedText says what went wrong, by the error at the bottom of the chain.
func (d *Dialect) redactedText(err error) string {
	for _, done := range []error{context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, done) {
			return done.Error()
		}
	}
	if phrase := d.dsnFault(err); phrase != "" {
		return phrase // some drivers parse parts of the DSN only when they connect
	}
	if _, text, ok := d.ServerError(err); ok {
		return cutQuoted(text)
	}
	var (
		dns  *net.DNSError
		op   *net.OpError
		addr *net.AddrError
		sys  *os.SyscallError
		host x509.HostnameError
	)
	switch {
	case errors.As(err, &dns):
		return "look up the host: " + cutQuoted(dns.Err)
	case errors.As(err, &addr):
		return "bad address: " + addr.Err
	case errors.As(err, &sys):
		return sys.Error()
	case errors.As(err, &op):
		if errors.As(op.Err, new(net.UnknownNetworkError)) {
			return op.Op + ": unknown network"
		}
		return op.Op + ": " + cutQuoted(innermost(op.Err).Error())
	case errors.As(err, &host):
		return "the certificate of the server is for another host"
	default:
		return cutQuoted(innermost(err).Error())
	}
}

func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			next = many.Unwrap()[0]
		}
		if next == nil {
			return err
		}
		err = next
	}
}

// quoted is a quoted text. It goes from the first quote to the last, since there may be
// quotes inside. An apostrophe within a word is no quote.
var quoted = regexp.MustCompile("(?s)\\B'.*'\\B|\\B\".*\"\\B|`.*`")

// cutQuoted removes what is quoted: names from the DSN and values, which are
// session IDs.
func cutQuoted(text string) string {
	return quoted.ReplaceAllStringFunc(text, func(s string) string { return s[:1] + "..." + s[:1] })
}

// badDSN is the error for a DSN that the driver cannot parse. Of the text of the driver
// it repeats only the phrases in DSNFaults.
func (d *Dialect) badDSN(err error) error {
	text := "the DSN is not valid"
	if phrase := d.dsnFault(err); phrase != "" {
		text += ": " + phrase
	}
	return errors.New(d.Name + ": " + text)
}

func (d *Dialect) dsnFault(err error) string {
	for _, phrase := range d.DSNFaults {
		if strings.Contains(err.Error(), phrase) {
			return phrase
		}
	}
	return ""
}

// Guard turns a panic into an error. Drivers parse what a server sends, and
// pgproto3/v2 can be made to panic by it.
func Guard(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("the driver panicked with a %T", v)
	}
}
