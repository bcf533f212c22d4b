package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/sqlite"
)

// TestTransactionOfTheHandler: a handler that answers before it commits its own
// transaction holds up its own session. The error says so.
func TestTransactionOfTheHandler(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "app.db")
	errs := make(chan error, 8)
	m, err := session.New(session.Options{
		Initer: sqlite.Initer(), Config: sqlite.Config{DSN: file, InitTable: true},
		Timeout: time.Second, ErrorFunc: func(err error) { errs <- err },
	})
	check(t, err)
	t.Cleanup(func() { check(t, m.Close()) })
	db, err := sql.Open("sqlite", file)
	check(t, err)
	t.Cleanup(func() { check(t, db.Close()) })
	_, err = db.Exec("CREATE TABLE orders (id INTEGER)")
	check(t, err)

	order := func(w http.ResponseWriter, s session.Session, answerFirst bool) {
		tx, err := db.Begin()
		check(t, err)
		defer func() { _ = tx.Rollback() }()
		_, err = tx.Exec("INSERT INTO orders VALUES (1)")
		check(t, err)
		s.Set("ordered", true)
		if answerFirst {
			w.WriteHeader(http.StatusCreated)
		}
		check(t, tx.Commit())
		w.WriteHeader(http.StatusCreated)
	}
	f := flamego.New()
	f.Use(m.Handler())
	f.Get("/first", func(w http.ResponseWriter, s session.Session) { order(w, s, true) })
	f.Get("/after", func(w http.ResponseWriter, s session.Session) { order(w, s, false) })
	visit := func(path string) int {
		w := httptest.NewRecorder()
		f.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code
	}

	if code := visit("/after"); code != http.StatusCreated {
		t.Errorf("the status is %d after the commit: %v", code, <-errs)
	}
	if code := visit("/first"); code != http.StatusInternalServerError {
		t.Fatalf("the status is %d before the commit", code)
	}
	err = <-errs
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "a transaction of the handler that is still open when the response begins") {
		t.Errorf("the error is %v", err)
	}
}
