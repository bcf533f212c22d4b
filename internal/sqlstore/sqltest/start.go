package sqltest

import (
	"fmt"
	"strings"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
)

func (tab *Table) wantIndex() {
	tab.Helper()
	tab.wantIndexes("expired_at", 1)
}

func (tab *Table) wantIndexes(column string, want int64) {
	tab.Helper()
	query := strings.ReplaceAll(tab.HasIndex, "'expired_at'", "'"+column+"'")
	if n := tab.Scalar(strings.ReplaceAll(query, "%s", strings.ReplaceAll(tab.Quoted, "'", "''"))); n != want {
		tab.Errorf("%d indexes on %s, want %d", n, column, want)
	}
}

func testInit(tab *Table) {
	tab.Init().Backend()
	tab.wantIndex()
	b := tab.Backend()
	tab.want(true)(b.Insert(ctx, "one", record("a", time.Minute)))
	tab.wantData(tab.Backend(), "one", "a")
	tab.wantIndex()
}

func testInitOld(tab *Table) {
	tab.Exec(fmt.Sprintf(tab.OldTable, tab.Quoted))
	tab.Exec("INSERT INTO %T (%k, %d, %e) VALUES ('old', ?, %(60))", []byte("a"))
	b := tab.Init().Backend()
	tab.wantData(b, "old", "a")
	tab.wantIndex()
	tab.want(true)(b.Rename(ctx, "old", "new", []byte("a"), record("b", time.Minute)))
}

func testInitOddNames(tab *Table) {
	for name, quoted := range tab.oddNames() {
		tab.named(name, quoted)
		tab.Exec("DROP TABLE IF EXISTS %T")
		b := tab.Init().Backend()
		tab.want(true)(b.Insert(ctx, "one", record("a", time.Minute)))
		tab.Exec("UPDATE %T SET %e = %(-1) WHERE %k = 'one'")
		tab.wantData(b, "one", "")
		tab.want(true)(b.Insert(ctx, "one", record("b", time.Minute)))
		tab.want(true)(b.Swap(ctx, "one", []byte("b"), record("c", time.Minute)))
		tab.want(false)(b.Sweep(ctx))
		if n := tab.Scalar("SELECT COUNT(*) FROM %T WHERE %k = 'one'"); n != 1 {
			tab.Errorf("table %q holds %d records", name, n)
		}
	}
}

func testInitParallel(tab *Table) {
	tab.Init().share()
	backends := make([]session.Backend, 24)
	tab.race(func(i int) (_ bool, err error) {
		backends[i], err = tab.open()
		return true, err
	})
	for i, b := range backends {
		tab.want(true)(b.Insert(ctx, fmt.Sprint("sid", i), record("a", time.Minute)))
		tab.check(b.(interface{ Close() error }).Close())
	}
	tab.wantIndex()
}

func testNoTable(tab *Table) {
	store := tab.Store()
	_, err := store.Read(ctx, "session1")
	NoLeak(tab, err, "session1", "SELECT")
	if text := err.Error(); !strings.Contains(text, tab.Config.Table) || !strings.Contains(text, "InitTable") {
		tab.Errorf("the error does not say which table is missing: %v", err)
	}
	s := session.NewBaseSessionWithData("session1", session.GobEncoder, nil, session.Data{"key": 1})
	for op, err := range map[string]error{
		"Save": store.Save(ctx, s), "Touch": store.Touch(ctx, "session1"),
		"Destroy": store.Destroy(ctx, "session1"), "GC": store.GC(ctx),
	} {
		if err == nil || !strings.Contains(err.Error(), "there is no table") {
			tab.Errorf("%s: %v", op, err)
		}
	}
	if store.Exist(ctx, "session1") {
		tab.Error("a session exists without a table")
	}
	if err := tab.DB.QueryRow(tab.sql("SELECT COUNT(*) FROM %T")).Scan(new(int)); err == nil {
		tab.Error("the table was made silently")
	}
}

func testBadNames(tab *Table) {
	for _, name := range []string{
		".", "a.", ".a", "a..b", "a.b.c", "a\x00b", "\xff",
		string(tab.Dialect.Quote) + string(tab.Dialect.Quote),
		strings.Repeat("x", 10000), "s." + strings.Repeat("x", 10000),
	} {
		if len(name) > 100 && tab.Dialect.MaxName == 0 {
			continue
		}
		tab.Config.Table = name
		_, _, err := tab.Dialect.Open(ctx, tab.Init().Config)
		if err == nil || !strings.Contains(err.Error(), "Table is not the name of a table") {
			tab.Errorf("table %.20q: %v", name, err)
		}
	}
}

func testBadConfig(tab *Table) {
	if _, _, err := tab.Dialect.Open(ctx, sqlstore.Config{}); err == nil || err.Error() != "empty DSN" {
		tab.Errorf("empty DSN: %v", err)
	}
	for _, config := range []interface{}{nil, tab.Config, &tab.Config, "DSN", 1} {
		_, err := session.New(session.Options{Initer: tab.Initer, Config: config})
		if want := fmt.Sprintf("%T", tab.Env.Config(tab.Config)); err == nil || !strings.Contains(err.Error(), want) {
			tab.Errorf("config of type %T: the error does not name %s: %v", config, want, err)
		}
	}
}

func testSharedPool(tab *Table) {
	dsn := tab.Config.DSN
	tab.Config.DSN, tab.Config.DB = "not a DSN, and not looked at", tab.Pool(dsn+tab.Params)
	b, _, err := tab.Dialect.Open(ctx, tab.Init().Config)
	tab.check(err)
	tab.want(true)(b.Insert(ctx, "one", record("a", time.Minute)))
	tab.check(b.(interface{ Close() error }).Close())
	tab.check(tab.Config.DB.Ping())
	tab.wantData(tab.Backend(), "one", "a")
}

func testClosed(tab *Table) {
	b, err := tab.Init().open()
	tab.check(err)
	for range 2 {
		tab.check(b.(interface{ Close() error }).Close())
	}
	if _, err = b.Insert(ctx, "one", record("a", time.Minute)); tab.Shared {
		tab.check(err) // the pool is not the store's to close
		return
	}
	NoLeak(tab, err, "one")
}

// testMadeLater uses a store before its table is there.
func testMadeLater(tab *Table) {
	b := tab.Backend()
	_, err := b.Insert(ctx, "one", record("a", time.Minute))
	NoLeak(tab, err, "one")
	tab.Exec(fmt.Sprintf(tab.OldTable, tab.Quoted))
	tab.want(true)(b.Insert(ctx, "one", record("a", time.Minute)))
	tab.Exec("DROP TABLE %T")
	_, _, err = b.Load(ctx, "one")
	NoLeak(tab, err, "one")
	tab.Exec(fmt.Sprintf(tab.OldTable, tab.Quoted))
	tab.want(true)(b.Insert(ctx, "one", record("b", time.Minute)))
	tab.wantData(b, "one", "b")
}
