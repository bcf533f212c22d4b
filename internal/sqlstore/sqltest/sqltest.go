// Package sqltest holds the tests that all dialects of package sqlstore share,
// on real servers. It is for tests only.
package sqltest

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/redact"
	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/testing/backendtest"
)

// Env is what the tests have to know about a dialect.
type Env struct {
	Dialect *sqlstore.Dialect
	Driver  string // of database/sql
	Initer  session.Initer
	// Config makes the dialect's own Config.
	Config func(sqlstore.Config) interface{}
	// DSN returns where tests may make tables.
	DSN func(t testing.TB) string
	// Params are added to the DSN for a pool that is not the store's.
	Params string
	// Shared says that the store is given a pool of Driver, and not a DSN.
	Shared bool
	// Longer says when the longer rules run.
	Longer backendtest.When
	// OldTable makes the table of the old library, %s is its quoted name.
	OldTable string
	// Time is an expression for %d seconds from now, as expired_at keeps it.
	Time string
	// HasIndex counts the indexes on expired_at of the table %s.
	HasIndex string
	// Explain stands before a query whose plan is asked for. Analyze is a statement that has
	// the server count the rows of the table %T.
	Explain, Analyze string
	// Schema is a schema that there is, Long the longest name of a table.
	Schema, Long string
}

// oddNames are names of tables and what they look like in SQL.
func (env *Env) oddNames() map[string]string {
	q := string(env.Dialect.Quote)
	odd := map[string]string{
		env.Schema + ".odd_qualified":                env.Schema + ".odd_qualified",
		q + env.Schema + q + "." + q + "odd.dot" + q: env.Schema + "." + q + "odd.dot" + q,
		"odd" + q + "quote":                          q + "odd" + q + q + "quote" + q,
		q + "odd" + q + q + "quoted" + q:             q + "odd" + q + q + "quoted" + q,
		q + "odd":                                    q + q + q + "odd" + q,
	}
	for _, name := range []string{
		"Odd Spaces", "odd'; DROP TABLE x; --", "odd$1 ? $$ {key} {table}", "odd\\\n\t%s", "oddä日本語", "select", env.Long,
	} {
		odd[name] = q + name + q
	}
	return odd
}

// Table is a table of one test.
type Table struct {
	*Env
	testing.TB
	sqlstore.Config
	DB *sql.DB // another way to look at it

	Quoted string
}

var ctx = context.Background()

// New names a table that is not there yet, and is dropped after the test.
func (env *Env) New(t testing.TB) *Table {
	t.Helper()
	tab := &Table{Env: env, TB: t, Config: sqlstore.Config{DSN: env.DSN(t)}}
	tab.DB = tab.Pool(tab.Config.DSN + env.Params)
	tab.named(fmt.Sprintf("t%08x", rand.Uint32()), "")
	return tab
}

// named gives the table another name.
func (tab *Table) named(name, quoted string) {
	if quoted == "" {
		quoted = name
	}
	tab.Config.Table, tab.Quoted = name, quoted
	tab.Cleanup(func() { _, _ = tab.DB.Exec("DROP TABLE IF EXISTS " + quoted) })
}

// Pool opens a pool that is not the store's.
func (tab *Table) Pool(dsn string) *sql.DB {
	tab.Helper()
	db, err := sql.Open(tab.Driver, dsn)
	tab.check(err)
	tab.Cleanup(func() { tab.check(db.Close()) })
	return db
}

// Init makes the table.
func (tab *Table) Init() *Table {
	tab.Helper()
	tab.InitTable = true
	return tab
}

// share gives the store a pool if the Env says so.
func (tab *Table) share() {
	if tab.Shared && tab.Config.DB == nil {
		tab.Config.DB = tab.Pool(tab.Config.DSN + tab.Params)
	}
}

// open opens a backend on the table.
func (tab *Table) open() (session.Backend, error) {
	tab.Helper()
	tab.share()
	b, _, err := tab.Dialect.Open(ctx, tab.Config)
	return b, err
}

// Backend opens a backend on the table, and closes it at the end of the test.
func (tab *Table) Backend() session.Backend {
	tab.Helper()
	b, err := tab.open()
	tab.check(err)
	tab.Cleanup(func() { tab.check(b.(interface{ Close() error }).Close()) })
	return b
}

// Options are those of a session middleware on the table.
func (tab *Table) Options(lifetime time.Duration) session.Options {
	tab.Lifetime = lifetime
	tab.share()
	return session.Options{Initer: tab.Initer, Config: tab.Env.Config(tab.Config)}
}

// Store opens a store on the table.
func (tab *Table) Store() session.Store {
	tab.Helper()
	m, err := session.New(tab.Options(0))
	tab.check(err)
	tab.Cleanup(func() { tab.check(m.Close()) })
	return m.Store()
}

// Exec runs a statement past the store; %T in it is the table.
func (tab *Table) Exec(text string, args ...interface{}) {
	tab.Helper()
	_, err := tab.DB.Exec(tab.sql(text), args...)
	tab.check(err)
}

// Scalar returns the one value of a query past the store.
func (tab *Table) Scalar(text string, args ...interface{}) (n int64) {
	tab.Helper()
	tab.check(tab.DB.QueryRow(tab.sql(text), args...).Scan(&n))
	return n
}

// sql replaces %T by the table, %k, %d and %e by the columns, and %(n) by the
// time in n seconds.
func (tab *Table) sql(text string) string {
	if tab.Dialect.Numbered {
		for n := 1; strings.Contains(text, "?"); n++ {
			text = strings.Replace(text, "?", fmt.Sprintf("$%d", n), 1)
		}
	}
	var all strings.Builder // the text may be a megabyte, with a time in each row
	for {
		before, rest, ok := strings.Cut(text, "%(")
		all.WriteString(before)
		if !ok {
			break
		}
		seconds, after, _ := strings.Cut(rest, ")")
		all.WriteString(strings.ReplaceAll(tab.Time, "%d", seconds))
		text = after
	}
	q := string(tab.Dialect.Quote)
	return strings.NewReplacer("%T", tab.Quoted, "%k", q+"key"+q, "%d", q+"data"+q, "%e", q+"expired_at"+q).Replace(all.String())
}

func (tab *Table) check(err error) {
	tab.Helper()
	if err != nil {
		tab.Fatal(err)
	}
}

// want fails unless an operation returned ok as wanted.
func (tab *Table) want(want bool) func(ok bool, err error) {
	return func(ok bool, err error) {
		tab.Helper()
		tab.check(err)
		if ok != want {
			tab.Fatalf("the operation reports %t, want %t", ok, want)
		}
	}
}

// wantData fails unless the record has the data, empty for no record.
func (tab *Table) wantData(b session.Backend, sid, data string) session.Record {
	tab.Helper()
	rec, found, err := b.Load(ctx, sid)
	tab.check(err)
	if found != (data != "") || string(rec.Data) != data {
		tab.Fatalf("record %s is %q (found: %t), want %q", sid, rec.Data, found, data)
	}
	return rec
}

var record = backendtest.Record

// race runs f in many goroutines at once and returns how many report true.
func (tab *Table) race(f func(i int) (bool, error)) int {
	tab.Helper()
	return backendtest.Race(tab, 24, f)
}

// NoLeak fails if anything that is usually done with an error shows one of the secrets: by
// err, and by what it wraps where that is ours.
func NoLeak(t testing.TB, err error, secrets ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if len(err.Error()) < 8 || errors.Unwrap(err) == nil && strings.HasSuffix(err.Error(), ": ") {
		t.Errorf("the error says nothing: %q", err)
	}
	for _, text := range shown(err) {
		for _, secret := range secrets {
			if secret == "" {
				continue
			}
			for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), strings.Trim(fmt.Sprintf("%d", []byte(secret)), "[]")} {
				if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
					t.Fatalf("the error shows %q: %s", secret, text)
				}
			}
		}
	}
}

// shown are the texts that loggers make of an error.
func shown(err error) (texts []string) {
	redacted := false
	for ours := err; ours != nil; ours = errors.Unwrap(ours) {
		if _, ok := any(ours).(*redact.Error); ok {
			redacted = true
		} else if redacted {
			break // the original, which errors.As finds
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
			texts = append(texts, fmt.Sprintf(verb, ours))
		}
		asJSON, _ := json.Marshal(map[string]any{"err": ours, "text": ours.Error()})
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Error("failed", "err", ours)
		slog.New(slog.NewTextHandler(&log, nil)).Error("failed", "err", ours)
		texts = append(texts, string(asJSON), log.String())
	}
	return texts
}
