package mysql

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// serverError finds the answer of the server. Its message may hold keys, data, statements
// and names.
func serverError(err error) (code, text string, ok bool) {
	var answer *mysql.MySQLError
	if !errors.As(err, &answer) {
		return "", "", false
	}
	return strconv.Itoa(int(answer.Number)), meaning(answer.Number), true
}

func meaning(code uint16) string {
	text, ok := codes[code]
	if !ok {
		text = "an error of the server"
	}
	return fmt.Sprintf("%s (error %d)", text, code)
}

// codes are the codes that a store is likely to meet.
var codes = map[uint16]string{
	1020: "the row has changed",
	1021: "the disk is full",
	1037: "the server is out of memory",
	1038: "the server is out of memory for a sort",
	1040: "too many connections",
	1041: "the server is out of memory",
	1044: "access denied to the database",
	1045: "access denied",
	1046: "no database selected",
	1048: "a column must not be NULL",
	1049: "there is no such database",
	1050: "there is such a table already",
	1053: "the server shuts down",
	1054: "there is no such column",
	1062: "there is a row with this key",
	1064: "syntax error",
	1071: "the key is too long for the server",
	1105: "unknown error",
	1114: "the table is full",
	1115: "unknown character set",
	1129: "the server has blocked this host because of connection errors",
	1130: "the server takes no connection from this host",
	1142: "permission denied",
	1143: "permission denied for a column",
	1146: "there is no such table",
	1153: "a packet is larger than max_allowed_packet",
	1193: "unknown system variable",
	1203: "the user has too many connections",
	1205: "a lock was not available in time",
	1213: "deadlock",
	1226: "the user has used up a limit",
	1227: "permission denied for a setting",
	1231: "a system variable cannot have this value",
	1232: "a system variable has another type",
	1243: "a prepared statement is on another connection",
	1251: "the server and the driver have no authentication in common",
	1264: "a value is out of range",
	1273: "unknown collation",
	1290: "the server is read-only, or an option of it forbids the statement",
	1298: "unknown time zone",
	1317: "the statement was interrupted",
	1364: "a column without a default has no value",
	1366: "a column cannot hold this value",
	1406: "a value is too long for its column",
	1452: "a foreign key refuses the row",
	1461: "too many prepared statements on the server",
	1615: "a prepared statement has to be prepared again",
	1644: "a trigger has raised an error",
	1709: "the key is too long for the row format",
	1792: "the transaction is read-only",
	1820: "the password has to be changed",
	1836: "the server is read-only",
	1862: "the password has expired",
	1927: "the connection was killed",
	1969: "the statement has taken too long",
	3024: "the statement has taken too long",
	3118: "the account is locked",
	3159: "the server wants an encrypted connection",
	3572: "a lock was not available at once",
	3819: "a CHECK constraint refuses the row",
	4025: "a CHECK constraint refuses the row",
	4031: "the connection was idle for too long",
	4151: "the account is locked",
}

// parameters are the parameters of a DSN to blame for a code when a connection begins, or
// for a phrase of the driver.
var parameters = map[string]string{
	"1044": "user or database", "1045": "user or password", "1046": "database", "1049": "database",
	"1129": "host", "1130": "host", "1251": "user", "1203": "user", "1226": "user",
	"1820": "password", "1862": "password", "3118": "user", "4151": "user", "3159": "tls",
	"1115": "charset", "1273": "collation", "1193": afterQuestionMark, "1227": afterQuestionMark,
	"1231": afterQuestionMark, "1232": afterQuestionMark, "1298": "time_zone", "1064": afterQuestionMark,

	"network address not terminated (missing closing brace)":   "address",
	"missing the slash separating the database name":           "database",
	"default addr for network":                                 "address",
	"invalid dbname":                                           "database",
	"interpolateParams can not be used with unsafe collations": "interpolateParams or collation",
	"unknown server pub key name":                              "serverPubKey",
	"invalid value for server pub key name":                    "serverPubKey",
	"unknown config name":                                      "tls",
	"invalid value for TLS config name":                        "tls",
	"invalid connectionAttributes value":                       "connectionAttributes",
	"invalid timeTruncate value":                               "timeTruncate",
	"unknown time zone":                                        "loc",
	"unknown collation":                                        "collation",
	"TLS requested but server does not support TLS":            "tls",
	"this user requires clear text authentication":             "allowCleartextPasswords",
	"this user requires mysql native password authentication":  "allowNativePasswords",
	"this user requires old password authentication":           "allowOldPasswords",
	"this authentication plugin is not supported":              "user",
	"did you forget to escape a param value?":                  "a parameter after the ? (a slash in it must be escaped)",
}

const afterQuestionMark = "a parameter after the ?"

// phrases are those of the driver that repeat nothing.
var phrases = []string{
	"did you forget to escape a param value?", "network address not terminated (missing closing brace)",
	"missing the slash separating the database name", "interpolateParams can not be used with unsafe collations",
	"default addr for network", "invalid dbname", "invalid bool value", "invalid timeTruncate value",
	"unknown server pub key name", "invalid value for server pub key name", "unknown config name",
	"invalid value for TLS config name", "invalid connectionAttributes value",
	"invalid duration", "unknown time zone", "unknown collation", "invalid URL escape", "invalid syntax",
	"invalid connection", "malformed packet", "busy buffer", "commands out of sync", "packet for query is too large",
	"TLS requested but server does not support TLS", "this user requires clear text authentication",
	"this user requires mysql native password authentication", "this user requires old password authentication",
	"this authentication plugin is not supported", "MySQL server does not support required protocol 41+",
	"unexpected resp from server for caching_sha2_password",
}

// driverParameters are the parameters that the driver itself reads.
var driverParameters = []string{
	"allowAllFiles", "allowCleartextPasswords", "allowFallbackToPlaintext", "allowNativePasswords", "allowOldPasswords",
	"charset", "checkConnLiveness", "clientFoundRows", "collation", "columnsWithAlias", "compress", "connectionAttributes",
	"interpolateParams", "loc", "maxAllowedPacket", "multiStatements", "parseTime", "readTimeout", "rejectReadOnly",
	"serverPubKey", "strict", "timeTruncate", "timeout", "tls", "writeTimeout",
}

// badParameter finds the parameter that the driver does not take, by trying each alone.
// It returns only names that are known: what looks like a name in a DSN that is not valid
// may be a piece of a password.
func badParameter(dsn string) string {
	_, query, _ := strings.Cut(dsn[strings.LastIndexByte(dsn, '/')+1:], "?")
	for param := range strings.SplitSeq(query, "&") {
		for _, name := range driverParameters {
			if strings.HasPrefix(param, name+"=") && !parses("/?"+param) {
				return name
			}
		}
	}
	return ""
}

func parses(dsn string) (ok bool) {
	defer func() { _ = recover() }()
	_, err := mysql.ParseDSN(dsn)
	return err == nil
}
