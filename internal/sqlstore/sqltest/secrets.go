package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
)

const (
	canaryID   = "canaryid0123456"
	canaryData = "canarydata\xff\x00"
)

// Secrets makes the database refuse what the store writes, in all ways in which it repeats
// a value: by messages, quoted or not. Faults are the statements for each. No error may
// show anything of a session, of a statement or of the DSN. It returns the texts of the
// errors.
func (env *Env) Secrets(t *testing.T, faults map[string][]string, dsnSecrets ...string) {
	secrets := append([]string{
		canaryID, "canarydata", "renamedcanary", `xff`, "SELECT", "INSERT", "UPDATE ", "DELETE", "VALUES",
	}, dsnSecrets...)
	for name, statements := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tab := env.New(t).Init()
			b := tab.Backend()
			tab.want(true)(b.Insert(ctx, canaryID, record("a", time.Hour)))
			for _, statement := range statements {
				tab.Exec(statement)
			}
			rec := session.Record{Data: []byte(canaryData), TTL: time.Hour}
			_, _, loaded := b.Load(ctx, canaryID)
			_, inserted := b.Insert(ctx, "new"+canaryID, rec)
			_, swapped := b.Swap(ctx, canaryID, []byte("a"), rec)
			_, renamed := b.Rename(ctx, canaryID, "renamedcanary", []byte("a"), rec)
			errs := []error{loaded, inserted, swapped, renamed, b.Extend(ctx, canaryID, 2*time.Hour), b.Delete(ctx, canaryID)}

			tab.InitTable = false
			opts := tab.Options(0)
			opts.Timeout = 3 * time.Second
			m, err := session.New(opts)
			tab.check(err)
			defer func() { tab.check(m.Close()) }()
			s := session.NewBaseSessionWithData("other"+canaryID, session.GobEncoder, nil, session.Data{"key": canaryData})
			errs = append(errs, m.Store().Save(ctx, s))

			n := 0
			for _, err := range errs {
				if err == nil {
					continue
				}
				n++
				NoLeak(t, err, secrets...)
				if errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "an error of type") {
					t.Logf("%s: %v", name, err)
				}
			}
			if n == 0 {
				t.Error("the database refuses nothing")
			}
		})
	}
}

// testAtRest reads all columns of the table by a pool of its own.
func testAtRest(tab *Table) {
	backendtest.AtRest(tab.TB.(*testing.T), func(t testing.TB) (session.Options, func() []byte) {
		tab := tab.New(t).Init()
		return tab.Options(0), func() (all []byte) {
			rows, err := tab.DB.Query(tab.sql("SELECT * FROM %T"))
			tab.check(err)
			defer func() { _ = rows.Close() }()
			columns, err := rows.Columns()
			tab.check(err)
			values, dest := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
			for i := range values {
				dest[i] = &values[i]
			}
			for rows.Next() {
				tab.check(rows.Scan(dest...))
				for _, value := range values {
					all = append(append(all, value...), '\n')
				}
			}
			tab.check(rows.Err())
			return all
		}
	})
}
