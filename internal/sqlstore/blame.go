package sqlstore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"

	"github.com/flamego/session/internal/redact"
)

// An error at start names the parameter that may be wrong. It never has a value of it.

// badDSN is the error for a DSN that the driver cannot parse.
func (d *Dialect) badDSN(dsn string, err error) error {
	text := d.phrase(err)
	if text == "" && errors.As(err, new(*redact.Error)) {
		text = err.Error() // of a panic
	}
	name := d.Parameters[text]
	if name == "" && d.BadParameter != nil {
		name = d.BadParameter(dsn)
	}
	out := d.Name + ": the DSN is not valid"
	for _, part := range []string{name, text} {
		if part != "" {
			out += ": " + part
		}
	}
	return errors.New(out)
}

// blamed puts the name of a parameter before the text of an error, if there is one to
// blame.
func (d *Dialect) blamed(err error) error {
	if name := d.blame(err); name != "" {
		return redact.New(name+": "+err.Error(), err)
	}
	return err
}

// blamedTable is blamed for the answer to a statement on the table, unless the answer is
// about the server or about others who use the table.
func (d *Dialect) blamedTable(err error) error {
	class := d.class(err)
	if _, ok := d.answer(err); ok && (class == Other || class == NoTable || class == NoColumn || class == KeyTooLong) {
		return redact.New("Table: "+err.Error(), err)
	}
	return err
}

func (d *Dialect) blame(err error) string {
	if code, ok := d.answer(err); ok {
		return d.Parameters[code]
	}
	if name := d.Parameters[d.phrase(err)]; name != "" {
		return name
	}
	var (
		dns  *net.DNSError
		addr *net.AddrError
		op   *net.OpError
		cert *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &dns):
		return "host"
	case errors.As(err, &cert), errors.As(err, new(x509.HostnameError)), errors.As(err, new(x509.UnknownAuthorityError)),
		errors.As(err, new(tls.AlertError)), errors.As(err, new(tls.RecordHeaderError)):
		return d.TLS
	case errors.As(err, &addr), errors.As(err, &op) && op.Op == "dial":
		if errors.Is(err, os.ErrNotExist) {
			return "host (the socket)"
		}
		return "host or port"
	}
	return ""
}
