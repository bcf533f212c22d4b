package sqltest

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
)

// Heard is a store on a driver that hears its statements. It is no database: each statement
// changes one row, and each query answers 1.
type Heard struct {
	session.Backend
	mu    sync.Mutex
	texts []string
}

// Hear opens a store with owners on such a driver.
func Hear(t testing.TB, d *sqlstore.Dialect, table string) *Heard {
	t.Helper()
	h := HearPlain(t, d, table)
	if err := h.Backend.(session.OwnerIniter).InitOwners(ctx); err != nil {
		t.Fatal(err)
	}
	return h
}

// HearPlain is Hear without InitOwners.
func HearPlain(t testing.TB, d *sqlstore.Dialect, table string) *Heard {
	t.Helper()
	h := new(Heard)
	same := *d
	same.Connector = func(string) (driver.Connector, error) { return hearing{h}, nil }
	b, _, err := same.Open(ctx, sqlstore.Config{DSN: "any", Table: table, InitTable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.(io.Closer).Close() })
	h.Backend = b
	return h
}

// Of returns the texts of the statements of f, each once.
func (h *Heard) Of(f func(b session.Backend)) []string {
	h.mu.Lock()
	h.texts = nil
	h.mu.Unlock()
	f(h.Backend)
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.Sort(h.texts)
	return slices.Compact(h.texts)
}

type hearing struct{ *Heard }

func (h hearing) Connect(context.Context) (driver.Conn, error) { return h, nil }
func (h hearing) Driver() driver.Driver                        { return nil }
func (h hearing) Begin() (driver.Tx, error)                    { return nil, errors.ErrUnsupported }
func (h hearing) Close() error                                 { return nil }

func (h hearing) Prepare(text string) (driver.Stmt, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.texts = append(h.texts, text)
	return answering{}, nil
}

// answering is a statement, and the row that a query answers.
type answering struct{}

func (answering) Close() error                               { return nil }
func (answering) NumInput() int                              { return -1 }
func (answering) Exec([]driver.Value) (driver.Result, error) { return driver.RowsAffected(1), nil }
func (answering) Query([]driver.Value) (driver.Rows, error)  { return new(row), nil }

type row struct{ read bool }

func (*row) Columns() []string { return []string{"n"} }
func (*row) Close() error      { return nil }

func (r *row) Next(dest []driver.Value) error {
	if r.read {
		return io.EOF
	}
	r.read, dest[0] = true, int64(1)
	return nil
}
