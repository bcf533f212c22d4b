package sqltest

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/tcpproxy"
)

// OwnersWithoutRight has the DSN of a user who may use the table, but not change it. The
// error has what somebody else can run. After that the user goes on.
func (tab *Table) OwnersWithoutRight(dsn, denied string, secrets ...string) {
	tab.Init().Backend()
	tab.Config.DSN = dsn
	err := tab.Backend().(session.OwnerIniter).InitOwners(ctx)
	NoLeak(tab, err, append(secrets, "SELECT", "lock_timeout")...)
	statements := Statements(err)
	if len(statements) != 2 || !strings.Contains(err.Error(), denied) {
		tab.Fatalf("the error is %v", err)
	}
	tab.Exec(statements[0])
	tab.withOwners() // the index alone is no reason not to start
	tab.Exec(statements[1])
	b := tab.withOwners()
	tab.want(true)(b.Insert(ctx, "one", of("a", "1")))
	tab.wantOwned(b, "one")
	tab.InitTable = false
	tab.wantOwned(tab.withOwners(), "one")
}

// OwnerRoundTrips tests that each operation with owners is one round trip, however many
// records a list has, once the statements are prepared.
func (env *Env) OwnerRoundTrips(t *testing.T, through Through) {
	tab := env.New(t).Init()
	_, server := through(tab.Config.DSN, "")
	p := tcpproxy.New(t, server, tcpproxy.Rules{})
	tab.Config.DSN, _ = through(tab.Config.DSN, p.Addr())
	b := tab.withOwners()
	list := func(want int) func() {
		return func() {
			owned, err := b.(session.OwnerIndex).Owned(ctx, "a")
			tab.check(err)
			if len(owned) != want {
				t.Errorf("a list of %d, want %d", len(owned), want)
			}
		}
	}
	ok := func(ok bool, err error) { tab.want(true)(ok, err) }
	for round := range 5 {
		for _, step := range []struct {
			what string
			do   func()
			want int
		}{
			{"a list of none", list(0), 1},
			{"an insert", func() { ok(b.Insert(ctx, "one", of("a", "1"))) }, 1},
			{"a swap", func() { ok(b.Swap(ctx, "one", []byte("1"), of("a", "2"))) }, 1},
			{"a swap with the same bytes", func() { ok(b.Swap(ctx, "one", []byte("2"), of("a", "2"))) }, 1},
			{"a list of one", list(1), 1},
			{"a rename", func() { ok(b.Rename(ctx, "one", "two", []byte("2"), of("a", "3"))) }, 1},
			{"many records", func() { tab.ownedRows(0, 900, "data", func(int) string { return "a" }) }, 0},
			{"a list of many", list(901), 1},
			{"no records", func() { tab.Exec("DELETE FROM %T WHERE %k LIKE 'row%'") }, 0},
			{"a delete", func() { tab.check(b.Delete(ctx, "two")) }, 1},
		} {
			begun := p.Trips()
			step.do()
			if got := p.Trips() - begun; round > 0 && got != step.want {
				t.Errorf("%s: %d round trips, want %d", step.what, got, step.want)
			}
		}
	}
}

// OwnedLost breaks the connection in the middle of a list, which has each record once all
// the same.
func (env *Env) OwnedLost(t *testing.T, through Through) {
	const n, half = 1000, 500_000
	tab := env.New(t).Init()
	_, server := through(tab.Config.DSN, "")
	var p *tcpproxy.Proxy
	var left atomic.Int64 // bytes until the connection breaks
	p = tcpproxy.New(t, server, tcpproxy.Rules{Answer: func(b []byte) []byte {
		if after := left.Add(-int64(len(b))); after <= 0 && after > -int64(len(b)) {
			p.Cut()
		}
		return b
	}})
	tab.Config.DSN, _ = through(tab.Config.DSN, p.Addr())
	b := tab.withOwners()
	tab.ownedRows(0, n, strings.Repeat("x", 1000), func(int) string { return "a" })
	for round := range 5 {
		left.Store(half)
		owned, err := b.(session.OwnerIndex).Owned(backendtest.Deadline(t, time.Minute), "a")
		tab.check(err)
		seen := make(map[string]bool)
		for _, rec := range owned {
			seen[rec.ID] = true
		}
		if len(owned) != n || len(seen) != n {
			t.Errorf("round %d: %d records, %d IDs, want %d", round, len(owned), len(seen), n)
		}
		if left.Load() > 0 {
			t.Errorf("round %d: no connection is lost", round)
		}
	}
}
