// Package pgdialect is PostgreSQL for package sqlstore, but for the driver: packages
// postgres and anydriver share it.
package pgdialect

import (
	"errors"
	"strings"

	"github.com/flamego/session/internal/sqlstore"
)

// Dialect returns the dialect, which has no Connector.
func Dialect() sqlstore.Dialect { return dialect }

var dialect = sqlstore.Dialect{
	Name: "postgres",

	// The server cuts longer names off and goes on with another table.
	Quote: '"', MaxName: 63, NameLength: func(s string) int { return len(s) },
	Numbered: true, Remote: true,

	Now:    "now()",
	Expiry: "now() + ?::bigint * interval '1 millisecond'",
	Left:   "floor(extract(epoch FROM {expired_at} - now()) * 1000)::bigint",
	Clock:  "floor(extract(epoch FROM now()) * 1000)::bigint",

	// An array is read once. IN might read the keys again for each row, and so delete
	// more than the limit. ORDER BY makes the server use the index: otherwise it may
	// overestimate the number of dead rows, and read the whole table to find some.
	Sweep: `DELETE FROM {table} WHERE {dead} AND {key} = ANY (ARRAY(
		SELECT {key} FROM {table} WHERE {dead} ORDER BY {expired_at} LIMIT {sweep limit} FOR UPDATE SKIP LOCKED))`,

	CreateTable: `CREATE TABLE IF NOT EXISTS {table}
		({key} TEXT PRIMARY KEY, {data} BYTEA NOT NULL, {expired_at} TIMESTAMPTZ NOT NULL)`,
	CreateIndex: "CREATE INDEX IF NOT EXISTS {index} ON {table} ({expired_at})",
	// CREATE INDEX IF NOT EXISTS would wait for writers before it looks for the index.
	HasIndex: `SELECT count(*) FROM pg_index i
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
		WHERE i.indrelid = to_regclass(concat_ws('.', quote_ident(nullif(?::text, '')), quote_ident(?::text)))
		AND a.attname = '{column}'`,

	OwnerType: `TEXT COLLATE "C"`,
	// Sessions of nobody are not in the index. An owner that is asked for is never NULL, so
	// the index serves.
	CreateOwnerIndex: "CREATE INDEX IF NOT EXISTS {owner index} ON {table} ({owner}) WHERE {owner} IS NOT NULL",
	// By way of JSON, as there are no generated columns before PostgreSQL 12.
	OwnerFits: `SELECT min((NOT a.attnotnull AND coalesce(to_jsonb(a)->>'attgenerated', '') = '' AND (a.atttypid = 'text'::regtype
		OR a.atttypid = 'varchar'::regtype AND (a.atttypmod < 0 OR a.atttypmod >= 190 + 4)))::int)
		FROM pg_attribute a
		WHERE a.attrelid = to_regclass(concat_ws('.', quote_ident(nullif(?::text, '')), quote_ident(?::text)))
		AND a.attname = 'owner'`,
	LockLimit: "SET LOCAL lock_timeout = '200ms'; ",

	Timed:       true,
	ServerError: serverError,
	Codes: map[sqlstore.Class][]string{
		sqlstore.Duplicate: {"23505"},
		sqlstore.NoTable:   {"42P01"},
		sqlstore.NoColumn:  {"42703"},
		// Serialization failure, deadlock, a cached plan for a table that has changed,
		// a prepared statement that is on another connection.
		sqlstore.Again: {"40001", "40P01", "0A000", "26000"},
		// A lock timeout, a statement that was canceled when its time was over: each takes
		// a moment, but for locks.
		sqlstore.Locked: {"55P03", "57014"},
		// Too many connections, of all users or of one.
		sqlstore.Full:     {"53300", unassigned},
		sqlstore.ReadOnly: {"25006"},
		// Shutdown, crash, a database that is dropped, idle_session_timeout. The server says
		// so before it closes a connection, and the next operation on that connection
		// reads it. PgBouncer says 08P01 of the server behind it, and of itself: see unassigned.
		sqlstore.Broken:   {"57P01", "57P02", "57P04", "57P05", "08000", "08003", "08006", "08007", "08P01", "40003"},
		sqlstore.Starting: {"57P03"},
	},

	TLS: "sslmode",
	Parameters: map[string]string{
		"28P01": "user or password", "28000": "user, password or sslmode", "3D000": "database",
		"42501": "user or database", "53300": "database or user (limits of connections)",
		"42704": "a parameter of the DSN", "22023": "a parameter of the DSN", "55P02": "a parameter of the DSN",
	},
}

// unassigned stands in place of an SQLSTATE. PgBouncer has one SQLSTATE for all its errors, 08P01, but
// some texts say that it has not given the client a connection to the server. Then nothing was sent.
const unassigned = "no server"

// saysUnassigned are these texts: the last login to the server has failed, and the next one comes
// later; all connections to the server were in use for too long.
var saysUnassigned = []string{"(server_login_retry)", "query_wait_timeout"}

// serverError finds the errors of pgx and of lib/pq, by the method that they have in
// common. The error of pgx may be inside an error that repeats half of the DSN.
func serverError(err error) (code, text string, ok bool) {
	var answer interface {
		error
		SQLState() string
	}
	if !errors.As(err, &answer) {
		return "", "", false
	}
	code = answer.SQLState()
	if code == "08P01" {
		for _, text := range saysUnassigned {
			if strings.Contains(answer.Error(), text) {
				return unassigned, "PgBouncer has no connection to the server: its log says why (SQLSTATE 08P01)", true
			}
		}
	}
	return code, meaning(code), true
}
