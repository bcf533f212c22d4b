package pgdialect

import "strings"

// meaning says what an SQLSTATE means.
func meaning(code string) string {
	if !isCode(code) {
		return "an error without an SQLSTATE"
	}
	text, ok := codes[code]
	if !ok {
		text, ok = classes[code[:2]]
	}
	if !ok {
		text = "an error of the server"
	}
	return text + " (SQLSTATE " + code + ")"
}

// isCode reports whether a text has the form of an SQLSTATE.
func isCode(code string) bool {
	return len(code) == 5 && strings.Trim(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// codes are the codes that a store is likely to meet.
var codes = map[string]string{
	"22001": "a value is too long for its column",
	"22021": "the encoding of the database has no such character",
	"22023": "invalid value of a parameter",
	"22P02": "a value has not the type of its column",
	"23502": "a column must not be NULL",
	"23503": "a foreign key refuses the row",
	"23505": "there is a row with this key",
	"23514": "a CHECK constraint refuses the row",
	"25006": "the server or the transaction is read-only",
	"25P02": "the transaction has failed before",
	"26000": "a prepared statement is on another connection, as behind a PgBouncer: see the doc of the package",
	"28000": "the server does not let this user in",
	"28P01": "password authentication failed",
	"3D000": "there is no such database",
	"3F000": "there is no such schema",
	"40001": "serialization failure",
	"40P01": "deadlock",
	"42501": "permission denied",
	"42601": "syntax error",
	"42703": "there is no such column",
	"42704": "unrecognized configuration parameter, or no such object",
	"42804": "a column has another type",
	"42883": "there is no such function or operator",
	"42P01": "there is no such table",
	"42P05": "a prepared statement is there already, as behind a PgBouncer: see the doc of the package",
	"42P07": "there is such a table already",
	"53100": "the disk is full",
	"53200": "the server is out of memory",
	"53300": "too many connections",
	"55P03": "a lock was not available in time",
	"57014": "the statement was cancelled, by the store when its time was over or by a statement_timeout",
	"57P01": "the server shuts down",
	"57P02": "the server has crashed",
	"57P03": "the server is starting or shutting down",
	"57P05": "the connection was idle for too long",
	"P0001": "a trigger or function has raised an error",
}

// classes are what the first two characters of a code mean.
var classes = map[string]string{
	"08": "a fault of the connection",
	"0A": "not supported",
	"21": "a fault of the number of rows or columns",
	"22": "a fault of a value",
	"23": "a constraint refuses the row",
	"25": "a fault of the transaction",
	"28": "authentication failed",
	"40": "the transaction was rolled back",
	"42": "a fault of a name, a type or a permission",
	"44": "the view refuses the row",
	"53": "the server lacks resources",
	"54": "a limit of the server",
	"55": "an object is not in the right state",
	"57": "the operator has intervened",
	"58": "a fault of the system of the server",
	"F0": "a fault of the configuration file",
	"P0": "a fault of a trigger or function",
	"XX": "an internal error of the server",
}
