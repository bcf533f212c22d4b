package sqlstore_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/session/internal/sqlstore"
)

// preparer prepares as long as it has room.
type preparer struct {
	driver.Conn
	driver.Stmt
	full     bool
	prepared int
	texts    []string
}

var errUnprepared = errors.New("no room")

func (p *preparer) Connect(context.Context) (driver.Conn, error) { return p, nil }
func (p *preparer) Driver() driver.Driver                        { return nil }
func (p *preparer) Close() error                                 { return nil }
func (p *preparer) NumInput() int                                { return -1 }

func (p *preparer) Prepare(string) (driver.Stmt, error) {
	if p.full {
		return nil, errUnprepared
	}
	p.prepared++
	return p, nil
}

func (p *preparer) Exec([]driver.Value) (driver.Result, error) { return driver.RowsAffected(1), nil }

func (p *preparer) ExecContext(_ context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) > 0 {
		return nil, errUnprepared
	}
	p.texts = append(p.texts, query)
	return driver.RowsAffected(1), nil
}

// A server that prepares no more statements gets them as text. After a minute it is asked
// again.
func TestUnprepared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &preparer{full: true}
		dialect := &sqlstore.Dialect{
			Name: "fake", Quote: '"', Prepare: true,
			Literal:   func(v interface{}) string { return fmt.Sprintf("<%v>", v) },
			Connector: func(string) (driver.Connector, error) { return p, nil },
			Codes:     map[sqlstore.Class][]string{sqlstore.Unprepared: {"1461"}},
			ServerError: func(err error) (code, text string, ok bool) {
				return "1461", "no room", errors.Is(err, errUnprepared)
			},
		}
		b, _, err := dialect.Open(t.Context(), sqlstore.Config{DSN: "any", Table: "odd?"})
		if err != nil {
			t.Fatal(err)
		}
		remove := func(prepared, texts int) {
			t.Helper()
			if err := b.Delete(t.Context(), "session1"); err != nil {
				t.Fatal(err)
			}
			if p.prepared != prepared || len(p.texts) != texts {
				t.Fatalf("%d are prepared, want %d; %d are sent as text, want %d", p.prepared, prepared, len(p.texts), texts)
			}
		}
		remove(0, 1)
		if got := p.texts[0]; !strings.Contains(got, `"odd?"`) || !strings.HasSuffix(got, "= <session1>") {
			t.Errorf("the text is %s", got)
		}
		p.full = false
		remove(0, 2)
		time.Sleep(time.Minute)
		remove(1, 2)
		remove(1, 2)
		if err := b.(io.Closer).Close(); err != nil {
			t.Fatal(err)
		}
	})
}
