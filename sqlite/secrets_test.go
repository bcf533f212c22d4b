package sqlite_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/counting"
	"github.com/flamego/session/sqlite"
)

// No error shows a session ID, data, the DSN or a statement, however it is shown.
func TestSecrets(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"no table":  "DROP TABLE sessions",
		"no column": "ALTER TABLE sessions RENAME COLUMN data TO other",
		"refused": `CREATE TRIGGER quoting BEFORE UPDATE ON sessions BEGIN
			SELECT RAISE(ABORT, 'cannot write ''qzcanaryofdata'''); END`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := "file:" + filepath.Join(t.TempDir(), "qzcanarydsn.db")
			fails := []string{"/read", "/set", "/renew", "/logout"}
			if name == "refused" {
				fails = []string{"/set", "/renew"}
			}
			counting.Broken{
				Open: func(testing.TB) session.Options {
					return session.Options{Initer: sqlite.Initer(), Config: sqlite.Config{DSN: dsn, InitTable: true}}
				},
				Break: func(t testing.TB) {
					db, err := sql.Open("sqlite", dsn)
					if err != nil {
						t.Fatal(err)
					}
					defer db.Close()
					if _, err := db.ExecContext(context.Background(), statement); err != nil {
						t.Fatal(err)
					}
				},
				Fails:  fails,
				Hidden: []string{"qzcanarydsn"},
			}.Secrets(t)
		})
	}
}

// Nothing of a session is in the files of the database, not in those of the log either.
func TestKeysAtRest(t *testing.T) {
	t.Parallel()
	backendtest.AtRest(t, func(t testing.TB) (session.Options, func() []byte) {
		dir := t.TempDir()
		config := sqlite.Config{DSN: filepath.Join(dir, "app.db"), InitTable: true}
		return session.Options{Initer: sqlite.Initer(), Config: config}, func() []byte { return backendtest.FilesOf(t, dir) }
	})
}
