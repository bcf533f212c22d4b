package sqlitedialect

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
)

const (
	logicError = "1" // SQLITE_ERROR
	busy       = "5" // SQLITE_BUSY
	locked     = "6" // SQLITE_LOCKED, which a shared cache answers
	constraint = "19"

	// These errors have no code of their own, so the message stands for it.
	noTable  = "no such table"
	noColumn = "no such column"
	noVFS    = "no such vfs"
)

// serverError finds the answer of SQLite in an error of modernc.org/sqlite or of
// mattn/go-sqlite3.
func serverError(err error) (code, text string, ok bool) {
	number, message, ok := answer(err)
	if !ok {
		return "", "", false
	}
	code = strconv.Itoa(number & 0xff)
	if code == constraint { // which of them is in the rest of the number
		code = strconv.Itoa(number)
	}
	for _, text := range []string{noTable, noColumn, noVFS} {
		if code == logicError && strings.Contains(message, text) {
			return text, text, true
		}
	}
	return code, meaning(number), true
}

func answer(err error) (number int, message string, ok bool) {
	var modernc interface {
		error
		Code() int
	}
	if errors.As(err, &modernc) {
		return modernc.Code(), modernc.Error(), true
	}
	for ; err != nil; err = errors.Unwrap(err) {
		if number, ok := mattnCode(err); ok {
			return number, err.Error(), true
		}
	}
	return 0, "", false
}

// mattnCode returns the code of a sqlite3.Error of mattn/go-sqlite3. That type has no
// method for it, and to import the package for its fields would link a second SQLite.
func mattnCode(err error) (int, bool) {
	v := reflect.ValueOf(err)
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct || v.Type().String() != "sqlite3.Error" {
		return 0, false
	}
	for _, name := range []string{"ExtendedCode", "Code"} {
		if code := v.FieldByName(name); code.IsValid() && code.CanInt() && code.Int() != 0 {
			return int(code.Int()), true
		}
	}
	return 0, false
}

// meaning says what a code means. The message of SQLite may hold names, and what a trigger
// raises.
func meaning(code int) string {
	text, ok := codes[code&0xff]
	if !ok {
		text = "an error of SQLite"
	}
	return text + " (code " + strconv.Itoa(code) + ")"
}

// codes are the primary codes of SQLite, in its own words.
var codes = map[int]string{
	1:  "SQL logic error",
	2:  "internal error of SQLite",
	3:  "access permission denied",
	4:  "query aborted",
	5:  "database is locked",
	6:  "database table is locked",
	7:  "out of memory",
	8:  "attempt to write a readonly database",
	9:  "interrupted",
	10: "disk I/O error",
	11: "database disk image is malformed",
	12: "unknown operation",
	13: "database or disk is full",
	14: "unable to open database file",
	15: "locking protocol",
	17: "database schema has changed",
	18: "string or blob too big",
	19: "constraint failed",
	20: "datatype mismatch",
	21: "bad parameter or other API misuse",
	22: "large file support is disabled",
	23: "authorization denied",
	25: "column index out of range",
	26: "file is not a database",
}
