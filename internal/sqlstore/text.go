package sqlstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/flamego/session/internal/redact"
)

// This file has the texts of errors. A server may repeat anything in its message: keys,
// data, what a trigger raises; and with another lc_messages even its quotes are others.
// The texts of drivers hold pieces of the DSN, and of values that do not fit. Not even the
// host of a DSN is safe: of a password with an unescaped "@" or "/", a part is taken for
// the host. So nothing is taken out of a text: an error says what its code or its type
// means, in words of this module, or in phrases of a driver that are known to repeat
// nothing.

// redacted returns err with a text that is safe to show, and nil if err is nil.
func (d *Dialect) redacted(err error) error {
	if err == nil {
		return nil
	}
	if already := (*redact.Error)(nil); errors.As(err, &already) {
		return err
	}
	text := d.text(err)
	if code, _, ok := d.ServerError(err); ok {
		err = &answered{err, code}
	}
	return redact.New(text, err)
}

// text says what went wrong.
func (d *Dialect) text(err error) string {
	for _, done := range []error{context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, done) {
			return done.Error()
		}
	}
	if _, text, ok := d.ServerError(err); ok {
		return text
	}
	if phrase := d.phrase(err); phrase != "" {
		return phrase // some drivers parse parts of the DSN only when they connect
	}
	return plainText(err)
}

// phrase finds a phrase of the driver in an error.
func (d *Dialect) phrase(err error) string {
	for _, phrases := range [][]string{d.Phrases, commonPhrases} {
		for _, phrase := range phrases {
			if strings.Contains(err.Error(), phrase) {
				return phrase
			}
		}
	}
	return ""
}

// commonPhrases are those of the standard library, of errors that have no type or value to
// know them by.
var commonPhrases = []string{
	"sql: database is closed", "sql: statement is closed", "converting NULL to", "unsupported Scan",
	"certificate signed by unknown authority", "certificate has expired or is not yet valid",
	"certificate is not valid for any names", "first record does not look like a TLS handshake",
	"protocol version not supported", "unexpected response packet",
}

// plain are errors whose own text repeats nothing.
var plain = []error{
	io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, os.ErrDeadlineExceeded,
	driver.ErrBadConn, driver.ErrSkip, sql.ErrConnDone, sql.ErrTxDone, sql.ErrNoRows, errOtherKey,
}

// plainText is the text of an error that is not of a driver.
func plainText(err error) string {
	var (
		dns  *net.DNSError
		addr *net.AddrError
		sys  *os.SyscallError
		op   *net.OpError
		host x509.HostnameError
		tls  tls.AlertError
		no   syscall.Errno
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "look up the host: no such host"
	case errors.As(err, &dns):
		return "look up the host: the look-up failed"
	case errors.As(err, &addr):
		return "bad address"
	case errors.As(err, &host):
		return "the certificate of the server is for another host"
	case errors.As(err, &tls):
		return tls.Error()
	case errors.As(err, &sys):
		return sys.Error() // the name of a system call and an error number
	case errors.As(err, new(net.UnknownNetworkError)):
		return "dial: unknown network"
	case errors.As(err, &op):
		return op.Op + ": " + plainText(op.Err)
	case errors.As(err, &no):
		return no.Error()
	}
	for _, known := range plain {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return fmt.Sprintf("an error of type %T", innermost(err))
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
