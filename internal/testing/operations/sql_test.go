package operations

import (
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v4/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/mysql"
	"github.com/flamego/session/postgres"
	"github.com/flamego/session/sqlite"
)

// place makes a schema or database of the test's own, as the page has one name for the table.
func place(t *testing.T, driver, dsn, create, drop string) (name string) {
	t.Helper()
	name = fmt.Sprintf("operations%d", time.Now().UnixNano())
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	_, err = db.Exec(fmt.Sprintf(create, name))
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := db.Exec(fmt.Sprintf(drop, name))
		assert.NoError(t, err)
		assert.NoError(t, db.Close())
	})
	return name
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	needs(t, "sh", "psql")
	dsn := testserver.Postgres(t)
	schema := place(t, "pgx", dsn, "CREATE SCHEMA %s", "DROP SCHEMA %s CASCADE")
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	password, _ := u.User.Password()
	env := []string{
		"PGHOST=" + u.Hostname(), "PGPORT=" + u.Port(), "PGUSER=" + u.User.Username(), "PGPASSWORD=" + password,
		"PGDATABASE=" + strings.TrimPrefix(u.Path, "/"), "PGSSLMODE=" + u.Query().Get("sslmode"),
		"PGOPTIONS=-c search_path=" + schema,
	}
	s := &subject{
		opts: session.Options{
			Initer: postgres.Initer(),
			Config: postgres.Config{DSN: dsn + "&search_path=" + schema, InitTable: true, Lifetime: lifetime},
		},
		run: func(t *testing.T, b block) string {
			if b.lang == "sh" {
				return shell(t, env, small(b.code))
			}
			require.Equal(t, "sql", b.lang)
			return pipe(t, env, b.code, "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1")
		},
		blocks:  sectionOf(t, "PostgreSQL"),
		digests: true, keeps: true,
		size: `\d+ (bytes|kB)\|\d+ (bytes|kB)\|\d+\n`,
	}
	s.test(t)
}

func TestMySQL(t *testing.T) {
	t.Parallel()
	needs(t, "sh", "mariadb")
	config, err := mysqldriver.ParseDSN(testserver.MySQL(t))
	require.NoError(t, err)
	config.DBName = place(t, "mysql", config.FormatDSN(), "CREATE DATABASE %s", "DROP DATABASE %s")
	host, port, err := net.SplitHostPort(config.Addr)
	require.NoError(t, err)
	home := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(home, ".my.cnf"), fmt.Appendf(nil,
		"[client]\nprotocol=tcp\nhost=%s\nport=%s\nuser=%s\npassword=%s\n[mysql]\ndatabase=%s\n",
		host, port, config.User, config.Passwd, config.DBName), 0o600))
	env := []string{"HOME=" + home}
	s := &subject{
		opts: session.Options{
			Initer: mysql.Initer(),
			Config: mysql.Config{DSN: config.FormatDSN(), InitTable: true, Lifetime: lifetime},
		},
		run: func(t *testing.T, b block) string {
			if b.lang == "sh" {
				return shell(t, env, small(b.code))
			}
			require.Equal(t, "sql", b.lang)
			return pipe(t, env, b.code, "mariadb", "-N")
		},
		blocks:  sectionOf(t, "MySQL and MariaDB"),
		digests: true, keeps: true,
		size: `[1-9]\d*\t[1-9]\d*\t\d+\n`,
	}
	s.test(t)
}

// sqliteSubject is a store on a file, whose lines are run by the driver.
func sqliteSubject(t *testing.T) *subject {
	file := filepath.Join(t.TempDir(), "sessions.db")
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	db.SetMaxOpenConns(1)
	s := &subject{
		opts: session.Options{
			Initer: sqlite.Initer(),
			Config: sqlite.Config{DSN: file, InitTable: true, Lifetime: lifetime},
		},
		run: func(t *testing.T, b block) string {
			require.Equal(t, "sql", b.lang)
			for range 10 { // "Again, until it says 0."
				if out := query(t, db, small(b.code)); b.label != "Shorten" || out == "0\n" {
					return out
				}
			}
			require.Fail(t, "no end of "+b.label)
			return ""
		},
		blocks: sectionOf(t, "SQLite"),
		keeps:  true,
		size:   `[1-9]\d*\|\d+\n[1-9]\d*\n`,
	}
	require.Equal(t, "5000\n", query(t, db, take(t, &s.blocks, "Begin")))
	return s
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	sqliteSubject(t).test(t)
}

// query runs statements, and returns their rows.
func query(t *testing.T, db *sql.DB, statements string) (out string) {
	t.Helper()
	for statement := range strings.SplitSeq(strings.TrimSpace(statements), ";\n") {
		rows, err := db.Query(statement)
		require.NoError(t, err, statement)
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			values, places := make([]sql.NullString, len(columns)), make([]any, len(columns))
			texts := make([]string, len(columns))
			for i := range values {
				places[i] = &values[i]
			}
			require.NoError(t, rows.Scan(places...))
			for i := range values {
				texts[i] = values[i].String
			}
			out += strings.Join(texts, "|") + "\n"
		}
		require.NoError(t, rows.Err(), statement)
		require.NoError(t, rows.Close())
	}
	return out
}

// What a list shows of an owner: with Keys a text that names nobody, and finds the sessions; of a long
// owner the hash.
func TestOwnersOnThePage(t *testing.T) {
	t.Parallel()
	s := sqliteSubject(t)
	s.opts.Keys = [][]byte{[]byte(strings.Repeat("k", 32))}
	s.open(t)
	s.fill(t)
	list, end := block{lang: "sql", code: take(t, &s.blocks, "List")}, block{lang: "sql", code: take(t, &s.blocks, "End all sessions of an owner")}
	out := s.run(t, list)
	require.NotContains(t, out, "alice")
	texts := regexp.MustCompile(`hmac:[0-9a-f]{64}\b`).FindAllString(out, -1)
	require.Len(t, texts, 3)
	s.end(t, end, live...)
	for _, text := range texts {
		s.run(t, block{lang: "sql", code: strings.ReplaceAll(end.code, "'alice'", "'"+text+"'")})
	}
	s.alive(t, nobody)

	s = sqliteSubject(t)
	s.open(t)
	long := strings.Repeat("long", 50)
	s.put(t, first, long, 0)
	require.Contains(t, s.run(t, list), "|sha256:"+sumOf(long)+"|")
}
