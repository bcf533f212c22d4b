// Package errtext says what an error of Redis is about, without what the error quotes.
//
// An error reply may repeat anything that was sent: "unknown command" comes with the
// arguments, "no permissions" with the user and the key. An error of a client may quote a
// reply, or the address, of which a password may be a part. So nothing of a text is
// passed on. A text is only searched for what this package knows, and is told in words of
// this package.
package errtext

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/flamego/session/internal/redact"
)

// Redacted returns err with a text that is safe to show, and nil if err is nil.
func Redacted(err error) error {
	if err == nil {
		return nil
	}
	return redact.New(Text(err), err)
}

// Text says what the error is about.
func Text(err error) string {
	if already := (*redact.Error)(nil); errors.As(err, &already) {
		return already.Error()
	}
	if text, ok := Reply(err); ok {
		return replyText(text)
	}
	for _, known := range []error{
		context.DeadlineExceeded, context.Canceled, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return networkText(err)
}

// Reply returns the text of an error reply of the server, as it was sent. It reports false
// for any other error.
func Reply(err error) (string, bool) {
	var goRedis interface {
		error
		RedisError()
	}
	if errors.As(err, &goRedis) {
		return goRedis.Error(), true
	}
	var rueidis interface { // and valkey-go
		error
		IsNil() bool
		IsNoScript() bool
	}
	if errors.As(err, &rueidis) {
		return rueidis.Error(), true
	}
	return "", false
}

// codes are the first words of error replies, and what they mean.
var codes = map[string]string{
	"ERR":         "", // see phrases
	"ASK":         "the slot of the key is on its way to another server",
	"BUSY":        "the server is busy with a script",
	"CLUSTERDOWN": "the Cluster is down",
	"CROSSSLOT":   "the keys are in two slots",
	"LOADING":     "the server is loading its data",
	"MASTERDOWN":  "the link of the replica to its primary is down",
	"MISCONF":     "the server cannot save to its disk, and refuses writes",
	"MOVED":       "the slot of the key is on another server",
	"NOAUTH":      "a password is needed",
	"NOPERM":      "the user has no permission",
	"NOREPLICAS":  "there are too few replicas",
	"NOSCRIPT":    "the script is not known",
	"OOM":         "the memory of the server is full",
	"READONLY":    "the server is a read-only replica",
	"TRYAGAIN":    "the slots of the keys are on their way to another server",
	"UNKILLABLE":  "the server is busy with a script",
	"WRONGPASS":   "the user name or the password is wrong, or the user is disabled",
	"WRONGTYPE":   "the key holds a value of another kind",
}

// phrases are in replies with the code ERR, in lower case, and what they mean.
var phrases = []struct{ in, means string }{
	{"max number of clients reached", "the server has as many clients as it allows"},
	{"unknown command", "unknown command"},
	{"unknown redis command", "a script may not call this command"},
	{"the user executing the script", "the user has no permission for what the script does"},
	{"no password is set", "the server has no password, and got one"},
	{"without any password configured", "the server has no password, and got one"},
	{"invalid password", "the password is wrong"},
	{"db index", "the server has no DB of this number"},
	{"select is not allowed in cluster mode", "a Cluster has no DB but 0"},
	{"wrong number of arguments", "wrong number of arguments"},
	{"syntax error", "the server is too old for this command"},
	{"protocol error", "the server did not understand the client"},
	{"running script", "the script failed"},
	{"script", "the script failed"},
}

// commands are those that the store and its client send.
var commands = regexp.MustCompile("(?i)['`](EVALSHA|EVAL|GET|PTTL|SET|DEL|PEXPIRE|EXISTS|TIME|ZADD|ZREM|ZREMRANGEBYSCORE|ZRANGE|PING|SELECT|AUTH|HELLO|CLIENT|CLUSTER|COMMAND|READONLY|ASKING)[|'`]")

func replyText(reply string) string {
	code := Code(reply)
	text, known := codes[code]
	if !known {
		return "the server answered with an error that is not known"
	}
	if code == "ERR" {
		text = "the server answered with an error"
		lower := strings.ToLower(reply)
		for _, phrase := range phrases {
			if strings.Contains(lower, phrase.in) {
				text = phrase.means
				break
			}
		}
	}
	if command := Command(reply); command != "" {
		text += " (" + command + ")"
	} else if refusesKeys(reply) {
		text = "the user has no access to keys with this KeyPrefix"
	}
	return code + " " + text
}

// Command returns the command that a reply names, or "" if it names none.
func Command(reply string) string {
	if command := commands.FindStringSubmatch(reply); command != nil {
		return strings.ToUpper(command[1])
	}
	return ""
}

// refusesKeys reports whether the user may not use the keys of a command.
func refusesKeys(reply string) bool {
	return Code(reply) == "NOPERM" && Command(reply) == "" && strings.Contains(reply, "key")
}

// Refusal says what a server refuses at start, given a reply for which IsRefusal is true.
func Refusal(reply string) string {
	switch command := Command(reply); {
	case refusesKeys(reply):
		return "the server refuses the keys of the store to this user"
	case command != "" && command != "EVAL" && command != "EVALSHA":
		return "the server refuses " + command + " to this user, and the store needs it"
	case command != "":
		return "the server refuses " + command + ", and the store needs scripts"
	}
	return "the server refuses scripts, which the store needs"
}

// fromScript is how servers before Redis 7 tell the error of a command of a script.
var fromScript = regexp.MustCompile(`^ERR Error running script \(call to f_[0-9a-f]{40}\): @user_script: ?\d+: @user_script: ?\d+: -?([A-Z]+) `)

// Code returns the first word of an error reply, which says of what kind the error is.
// For the error of a command that a script has called, the code is that of the command.
func Code(reply string) string {
	if inner := fromScript.FindStringSubmatch(reply); inner != nil {
		if _, known := codes[inner[1]]; known {
			return inner[1]
		}
	}
	code, _, _ := strings.Cut(reply, " ")
	return code
}

// IsRefusal reports whether a reply says that the server knows no such command, or that the
// user may not use it.
func IsRefusal(reply string) bool {
	return Code(reply) == "NOPERM" || strings.HasPrefix(strings.ToLower(reply), "err unknown command")
}

// IsPassing reports whether the server may soon give another answer.
func IsPassing(reply string) bool {
	switch Code(reply) {
	case "LOADING", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK":
		return true
	}
	return isFull(reply)
}

// MayStart reports whether an error at start may be that of a server, or of a network, that
// is still starting.
func MayStart(err error) bool {
	if reply, ok := Reply(err); ok {
		return IsPassing(reply) || Code(reply) == "MASTERDOWN"
	}
	return errors.As(err, new(*net.OpError)) || errors.As(err, new(*net.DNSError)) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func isFull(reply string) bool { return strings.HasPrefix(reply, "ERR max number of clients reached") }

// IsNotDone reports whether a reply says that nothing was done. For a script that is so if
// its first write was refused, as no write that follows can be refused for such a reason.
func IsNotDone(reply string) bool {
	switch Code(reply) {
	case "ASK", "BUSY", "CLUSTERDOWN", "CROSSSLOT", "LOADING", "MASTERDOWN", "MISCONF", "MOVED", "NOAUTH",
		"NOREPLICAS", "NOSCRIPT", "OOM", "READONLY", "TRYAGAIN", "WRONGPASS", "WRONGTYPE":
		return true
	}
	return IsRefusal(reply) || isFull(reply)
}

// networkText is the text of an error that is no reply.
func networkText(err error) string {
	var (
		dns       *net.DNSError
		addr      *net.AddrError
		sys       *os.SyscallError
		errno     syscall.Errno
		op        *net.OpError
		network   net.Error
		alert     tls.AlertError
		record    tls.RecordHeaderError
		host      x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
	)
	var text string
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		text = "no such host"
	case errors.As(err, &dns):
		text = "the name of the host could not be looked up"
	case errors.As(err, &addr):
		text = "the address is not valid"
	case errors.As(err, new(net.UnknownNetworkError)):
		text = "unknown network"
	case errors.As(err, &sys) && errors.As(sys.Err, &errno):
		text = sys.Syscall + ": " + errno.Error()
	case errors.As(err, &errno):
		text = errno.Error()
	case errors.As(err, &alert):
		text = alert.Error()
	case errors.As(err, &record):
		text = "the server does not speak TLS"
	case errors.As(err, &host):
		text = "the certificate of the server is for another host"
	case errors.As(err, &authority):
		text = "the certificate of the server is signed by nobody who is known"
	case errors.As(err, &invalid):
		text = "the certificate of the server is not valid"
	case errors.As(err, &network) && network.Timeout():
		text = "i/o timeout"
	default:
		text = fmt.Sprintf("error of type %T", innermost(err))
	}
	if errors.As(err, &op) {
		text = op.Op + ": " + text
	}
	return text
}

// innermost is the error at the bottom of the chain.
func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
