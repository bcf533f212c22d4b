package postgres_test

import (
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/postgres"
)

func TestOwnerRoundTrips(t *testing.T) { env.OwnerRoundTrips(t, through) }

func TestOwnedLost(t *testing.T) { env.OwnedLost(t, through) }

func TestOwnersWithoutRight(t *testing.T) {
	t.Parallel()
	tab := env.New(t).Init()
	tab.Backend()
	role := "weak_" + tab.Config.Table
	execAll(t, tab.DB, "CREATE ROLE "+role+" LOGIN PASSWORD 'canary-pass'",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON "+tab.Quoted+" TO "+role)
	t.Cleanup(func() { execAll(t, tab.DB, "DROP OWNED BY "+role, "DROP ROLE "+role) })
	u, err := url.Parse(tab.Config.DSN)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "canary-pass")
	tab.OwnersWithoutRight(u.String(), "permission denied (SQLSTATE 42501)", role, "canary-pass", u.Host)
}

// TestOwnersGenerated: a column that cannot be written is not used.
func TestOwnersGenerated(t *testing.T) {
	t.Parallel()
	tab := env.New(t).Init()
	b := tab.Backend()
	tab.Exec("ALTER TABLE %T ADD COLUMN owner TEXT GENERATED ALWAYS AS ('a'::text) STORED")
	if err := b.(session.OwnerIniter).InitOwners(ctx); err == nil {
		t.Error("the column is used")
	}
}

// TestOwnersBesideReaders: while somebody reads the table for long, the column waits, and
// sessions go on.
func TestOwnersBesideReaders(t *testing.T) {
	t.Parallel()
	tab := env.New(t).Init()
	b := tab.Backend()
	tx, err := tab.DB.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec("SELECT key FROM " + tab.Quoted); err != nil {
		t.Fatal(err)
	}
	added := make(chan error, 1)
	go func() { added <- tab.Backend().(session.OwnerIniter).InitOwners(ctx) }()
	var loads atomic.Int64
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); loads.Add(1) {
		if _, _, err := b.Load(backendtest.Deadline(t, time.Minute), "one"); err != nil {
			t.Fatalf("after %d loads: %v", loads.Load(), err)
		}
	}
	select {
	case err := <-added:
		t.Fatalf("the column is added while somebody reads: %v", err)
	default:
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-added; err != nil {
		t.Fatal(err)
	}
}

// TestOwnersGenericPlan: the index serves a plan that knows no owner as well, which the
// server may take after five lists.
func TestOwnersGenericPlan(t *testing.T) {
	t.Parallel()
	tab := env.New(t).Init()
	if err := tab.Backend().(session.OwnerIniter).InitOwners(ctx); err != nil {
		t.Fatal(err)
	}
	owned := sqltest.Hear(t, postgres.Dialect, tab.Config.Table).Of(func(b session.Backend) {
		_, _ = b.(session.OwnerIndex).Owned(ctx, "a")
	})
	c, err := tab.DB.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, statement := range []string{
		"INSERT INTO " + tab.Quoted + " SELECT 's' || n, '', now() + interval '1 hour', 'owner' || n / 5 FROM generate_series(1, 5000) n",
		"ANALYZE " + tab.Quoted, "SET plan_cache_mode = force_generic_plan", "PREPARE list (text) AS " + owned[0],
	} {
		if _, err := c.ExecContext(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := c.QueryContext(ctx, "EXPLAIN EXECUTE list ('owner7')")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(line + "\n")
	}
	if !strings.Contains(plan.String(), tab.Config.Table+"_owner_idx") || !strings.Contains(plan.String(), "$1") {
		t.Errorf("the plan is %s%v", plan.String(), rows.Err())
	}
}

// BenchmarkOwners is for docs/benchmarks.md, "Experiments":
//
//	BENCH_OWNERS=1 go test -run '^$' -bench Owners -timeout 0 ./postgres ./mysql
func BenchmarkOwners(b *testing.B) { env.BenchOwners(b, "CAST(%s AS TEXT)") }
