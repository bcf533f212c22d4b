package mongo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/x/bsonx/bsoncore"
	"go.mongodb.org/mongo-driver/x/mongo/driver"
	"go.mongodb.org/mongo-driver/x/mongo/driver/auth"
	"go.mongodb.org/mongo-driver/x/mongo/driver/topology"

	"github.com/flamego/session/internal/redact"
)

// redacted returns err with a text that is safe to show, and nil if err is nil.
func redacted(err error) error {
	if err == nil {
		return nil
	}
	return redact.New(explain(err), err)
}

// explain says what is wrong in words of this package, by the type of the error. The text
// of the driver or of the server is never shown, not even in part: it may quote the
// command, and what it takes for the name of a host may be a piece of the password.
func explain(err error) string {
	var selection topology.ServerSelectionError
	if errors.As(err, &selection) {
		for _, server := range selection.Desc.Servers {
			if server.LastError != nil {
				return "no primary found: " + explain(server.LastError)
			}
		}
		err = selection.Wrapped
		if text := explainNetwork(err); text != "" {
			return "no primary found: " + text
		}
		return "no primary found"
	}
	for _, explain := range []func(error) string{explainTLS, explainNetwork, explainServer, explainClient} {
		if text := explain(err); text != "" {
			return text
		}
	}
	return "the driver has failed" // errors.As finds the original
}

func explainTLS(err error) string {
	var (
		alert   tls.AlertError
		record  tls.RecordHeaderError
		host    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &host):
		return "TLS: the certificate of the server is for another host"
	case errors.As(err, &unknown):
		return "TLS: the certificate of the server is signed by an unknown authority (tlsCAFile)"
	case errors.As(err, &invalid):
		return "TLS: the certificate of the server is not valid or has expired"
	case errors.As(err, &verify):
		return "TLS: the certificate of the server is not trusted"
	case errors.As(err, &record):
		return "TLS: the server does not speak TLS (tls)"
	case errors.As(err, &alert):
		return alert.Error() // of a fixed list: "tls: bad certificate"
	}
	return ""
}

func explainNetwork(err error) string {
	var (
		dns   *net.DNSError
		op    *net.OpError
		addr  *net.AddrError
		errno syscall.Errno
		other net.Error
	)
	what := ""
	if errors.As(err, &op) {
		switch op.Op {
		case "dial", "read", "write":
			what = op.Op + ": "
		}
	}
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "a host of the Options is not known"
	case errors.As(err, &dns):
		return "a host of the Options cannot be looked up"
	case errors.As(err, &addr):
		return "the address of a host of the Options is not valid"
	case errors.As(err, &errno):
		return what + errno.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the server has closed the connection"
	case errors.Is(err, net.ErrClosed):
		return what + "the connection is closed"
	case errors.Is(err, context.Canceled):
		return context.Canceled.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded.Error()
	case errors.Is(err, topology.ErrServerSelectionTimeout):
		return topology.ErrServerSelectionTimeout.Error()
	case errors.As(err, &other) && other.Timeout():
		return what + os.ErrDeadlineExceeded.Error()
	case errors.As(err, &op):
		return what + "the connection has failed"
	}
	return ""
}

// explainServer says what the server has refused.
func explainServer(err error) string {
	var (
		exception mongo.WriteException
		refused   *auth.Error
	)
	code, ok := codeOf(err)
	switch {
	case errors.As(err, &refused):
		text := "authentication has failed: check the user, the password, authSource and authMechanism"
		if ok {
			text += " (" + nameOf(code) + ")"
		}
		return text
	case ok:
		return "the server has refused the command: " + nameOf(code)
	case errors.As(err, &exception) && exception.WriteConcernError != nil:
		return "the write concern was not met: " + nameOf(exception.WriteConcernError.Code)
	case errors.As(err, &exception), errors.As(err, new(mongo.CommandError)), errors.As(err, new(driver.Error)):
		return "the server has refused the command"
	}
	return ""
}

// explainClient says what the driver could not do.
func explainClient(err error) string {
	switch {
	case errors.As(err, new(topology.WaitQueueTimeoutError)):
		return "no connection was free in time (MaxPoolSize)"
	case errors.As(err, new(driver.RetryablePoolError)):
		return "the connections were closed because another one has failed"
	case errors.As(err, new(topology.ConnectionError)):
		return "the connection could not be made or has failed"
	case errors.As(err, new(driver.ResponseError)), errors.As(err, new(bsoncore.ValidationError)),
		errors.As(err, new(bsoncore.InsufficientBytesError)):
		return "the answer of the server cannot be understood"
	}
	for _, fixed := range []error{
		mongo.ErrNoDocuments, mongo.ErrClientDisconnected, mongo.ErrUnacknowledgedWrite,
		driver.ErrUnsupportedStorageEngine, driver.ErrDocumentTooLarge,
	} {
		if errors.Is(err, fixed) {
			return fixed.Error()
		}
	}
	return ""
}

// code is what is known of a code of the server.
type code struct {
	name string
	hint string
	// nothingDone: a command with this answer has changed nothing. Others may be the
	// answer to a write that was made and not confirmed.
	nothingDone bool
	// notPrimary: another server is or will be the primary.
	notPrimary bool
}

const (
	codeInvalidNamespace          = 73
	codeUnknownWriteConcern       = 79
	codeUnsatisfiableWriteConcern = 100
)

// codes has the names that the server gives to its codes. The name in an answer is not
// shown, as it may be anything.
var codes = map[int]code{
	2:                             {name: "BadValue", nothingDone: true},
	8:                             {name: "UnknownError"},
	9:                             {name: "FailedToParse", nothingDone: true},
	11:                            {name: "UserNotFound", nothingDone: true},
	13:                            {name: "Unauthorized", hint: "the user has no right to do this in the Database", nothingDone: true},
	14:                            {name: "TypeMismatch", nothingDone: true},
	18:                            {name: "AuthenticationFailed", nothingDone: true},
	20:                            {name: "IllegalOperation", nothingDone: true},
	24:                            {name: "LockTimeout", nothingDone: true},
	50:                            {name: "MaxTimeMSExpired"},
	59:                            {name: "CommandNotFound", nothingDone: true},
	61:                            {name: "ShardKeyNotFound", nothingDone: true},
	64:                            {name: "WriteConcernFailed"},
	66:                            {name: "ImmutableField", nothingDone: true},
	72:                            {name: "InvalidOptions", nothingDone: true},
	codeInvalidNamespace:          {name: "InvalidNamespace", hint: "check Database and Collection", nothingDone: true},
	codeUnknownWriteConcern:       {name: "UnknownReplWriteConcern", hint: "check the write concern of the Options"},
	85:                            {name: "IndexOptionsConflict", nothingDone: true},
	86:                            {name: "IndexKeySpecsConflict", nothingDone: true},
	91:                            {name: "ShutdownInProgress"},
	codeUnsatisfiableWriteConcern: {name: "UnsatisfiableWriteConcern", hint: "check the write concern of the Options"},
	112:                           {name: "WriteConflict", nothingDone: true},
	115:                           {name: "CommandNotSupported", nothingDone: true},
	121:                           {name: "DocumentValidationFailure", nothingDone: true},
	146:                           {name: "ExceededMemoryLimit"},
	166:                           {name: "CommandNotSupportedOnView", hint: "check Collection", nothingDone: true},
	189:                           {name: "PrimarySteppedDown"},
	238:                           {name: "NotImplemented", nothingDone: true},
	262:                           {name: "ExceededTimeLimit"},
	8000:                          {name: "AtlasError"},
	10058:                         {name: "LegacyNotPrimary", nothingDone: true, notPrimary: true},
	10107:                         {name: "NotWritablePrimary", nothingDone: true, notPrimary: true},
	10334:                         {name: "BSONObjectTooLarge", nothingDone: true},
	11000:                         {name: "DuplicateKey", nothingDone: true},
	11600:                         {name: "InterruptedAtShutdown"},
	11601:                         {name: "Interrupted"},
	11602:                         {name: "InterruptedDueToReplStateChange"},
	13435:                         {name: "NotPrimaryNoSecondaryOk", nothingDone: true, notPrimary: true},
	13436:                         {name: "NotPrimaryOrSecondary", nothingDone: true, notPrimary: true},
	14031:                         {name: "OutOfDiskSpace"},
}

func nameOf(number int) string {
	c, ok := codes[number]
	switch {
	case !ok:
		return fmt.Sprintf("code %d", number)
	case c.hint != "":
		return fmt.Sprintf("%s (code %d): %s", c.name, number, c.hint)
	}
	return fmt.Sprintf("%s (code %d)", c.name, number)
}

// explainOptions says what is wrong with the settings of a client.
func explainOptions(err error) string {
	if errors.As(err, new(*net.DNSError)) {
		return "a host of the URI has no SRV record or cannot be looked up"
	}
	if errors.As(err, new(*fs.PathError)) {
		return "a file that the Options name cannot be read"
	}
	text := err.Error()
	if _, rest, ok := strings.Cut(text, `invalid value for "`); ok {
		for _, name := range uriOptions {
			if option, _, _ := strings.Cut(rest, `"`); strings.EqualFold(option, name) {
				return "the URI has an invalid value for " + name
			}
		}
		return "the URI has an invalid value for one of its parameters"
	}
	for _, phrase := range optionFaults {
		if strings.Contains(text, phrase) {
			return "the URI or another setting is not valid: " + phrase
		}
	}
	return "the URI or another setting is not valid"
}

// optionFaults are what the driver says about a URI and settings, and quotes nothing.
var optionFaults = []string{
	`scheme must be "mongodb" or "mongodb+srv"`,
	"unescaped slash in username", "invalid username", "username required",
	"unescaped colon in password", "unescaped slash in password", "invalid password", "password required",
	"unescaped @ sign in user info", "password must not be set",
	"must have a / before the query ?", "must have a / separator between hosts and path",
	"must have a ? separator between path and query", "must have at least 1 host",
	"port must be an integer", "port must be in the range [1, 65535]", "invalid host", "invalid database",
	"URI with SRV must include one and only one hostname", "URI with srv must not include a port number",
	"DNS name must contain at least 2 labels",
	"invalid option key", "invalid option value", "invalid option", "authSource must be non-empty", "auth source must be $external", "invalid auth mechanism",
	"a direct connection cannot be made if multiple hosts are specified",
	"a direct connection cannot be made if an SRV URI is used",
	"minPoolSize must be less than or equal to maxPoolSize", "invalid server monitoring mode",
	"tls and ssl options, when both specified, must be equivalent",
	"the specified CA file does not contain any valid certificates",
	"write concern", "read preference", "compressors", "replicaSet", "loadBalanced", "srvMaxHosts",
}

// uriOptions are the parameters of a URI.
var uriOptions = []string{
	"appName", "authMechanism", "authMechanismProperties", "authSource", "compressors", "connect",
	"connectTimeoutMS", "directConnection", "heartbeatFrequencyMS", "heartbeatIntervalMS", "journal",
	"loadBalanced", "localThresholdMS", "maxConnecting", "maxIdleTimeMS", "maxPoolSize", "maxStaleness",
	"maxStalenessSeconds", "minPoolSize", "readConcernLevel", "readPreference", "readPreferenceTags",
	"replicaSet", "retryReads", "retryWrites", "serverMonitoringMode", "serverSelectionTimeoutMS",
	"socketTimeoutMS", "srvMaxHosts", "srvServiceName", "ssl", "sslInsecure", "timeoutMS", "tls",
	"tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames", "tlsDisableOCSPEndpointCheck",
	"tlsInsecure", "w", "waitQueueTimeoutMS", "wtimeout", "wtimeoutMS", "zlibCompressionLevel",
	"zstdCompressionLevel",
}
