package sqltest

import (
	"database/sql"
	"testing"
	"time"

	"github.com/flamego/session/internal/deadline"
)

// Allocations checks how many times a load allocates, beyond what database/sql and the driver
// do for a query of the data alone. No other test may run beside it.
func (env *Env) Allocations(t *testing.T, most float64) {
	tab := env.New(t).Init()
	b := tab.Backend()
	tab.want(true)(b.Insert(ctx, "one", record("data", time.Hour)))

	c, err := env.Dialect.Connector(tab.Config.DSN)
	tab.check(err)
	db := sql.OpenDB(c)
	defer func() { tab.check(db.Close()) }()
	query := tab.sql("SELECT %d FROM %T WHERE %k = ?")
	ask := func(data *[]byte) error { return db.QueryRowContext(ctx, query, "one").Scan(data) }
	if env.Dialect.Prepare {
		stmt, err := db.PrepareContext(ctx, query)
		tab.check(err)
		defer func() { tab.check(stmt.Close()) }()
		ask = func(data *[]byte) error { return stmt.QueryRowContext(ctx, "one").Scan(data) }
	}
	alone := testing.AllocsPerRun(500, func() {
		var data []byte
		if err := ask(&data); err != nil || string(data) != "data" {
			t.Errorf("%q: %v", data, err)
		}
	})
	load := testing.AllocsPerRun(500, func() {
		ctx, cancel := deadline.Within(ctx, time.Minute)
		defer cancel()
		rec, found, err := b.Load(ctx, "one")
		if err != nil || !found || string(rec.Data) != "data" {
			t.Errorf("%q: found: %t: %v", rec.Data, found, err)
		}
	})
	t.Logf("%v, and %v for the query alone", load, alone)
	if load > alone+most {
		t.Errorf("a load allocates %v times, and its query %v times", load, alone)
	}
}
