package sqltest

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
)

func testOwners(tab *Table) { backendtest.Owners(tab.TB, tab.Init().Backend(), "owners") }

// withOwners opens a backend that knows owners.
func (tab *Table) withOwners() session.Backend {
	tab.Helper()
	b := tab.Backend()
	tab.check(b.(session.OwnerIniter).InitOwners(ctx))
	return b
}

// of is a record of an owner.
func of(owner, data string) session.Record {
	return session.Record{Data: []byte(data), TTL: time.Hour, Owner: owner}
}

// wantOwned fails unless the owner a has the records with these IDs.
func (tab *Table) wantOwned(b session.Backend, want ...string) {
	tab.Helper()
	owned, err := b.(session.OwnerIndex).Owned(ctx, "a")
	tab.check(err)
	var got []string
	for _, rec := range owned {
		got = append(got, rec.ID)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		tab.Errorf("the owner has %q, want %q", got, want)
	}
}

// testOwnersNew has stores with and without owners on one new table, each of which is first
// once. The records of stores without are of nobody.
func testOwnersNew(tab *Table) {
	plain := tab.Init().Backend()
	tab.want(true)(plain.Insert(ctx, "before", of("a", "1")))
	if _, err := tab.DB.Exec(tab.sql("SELECT owner FROM %T")); err == nil {
		tab.Error("there is a column that nobody has asked for")
	}

	b := tab.withOwners()
	tab.wantIndexes("owner", 1)
	tab.want(true)(b.Insert(ctx, "mine", of("a", "1")))
	tab.wantOwned(b, "mine")
	tab.want(true)(b.Swap(ctx, "before", []byte("1"), of("a", "1"))) // its next use
	tab.wantOwned(b, "before", "mine")

	for _, b := range []session.Backend{plain, tab.Backend()} {
		sid := fmt.Sprintf("plain%p", b)[:10]
		tab.check(b.Delete(ctx, sid))
		tab.want(true)(b.Insert(ctx, sid, of("a", "1")))
		tab.want(true)(b.Swap(ctx, "mine", []byte("1"), of("", "1")))
		tab.want(true)(b.Rename(ctx, sid, "renamed"+sid, []byte("1"), of("a", "1")))
		tab.check(b.Delete(ctx, "renamed"+sid))
	}
	tab.wantOwned(b, "before", "mine")
	again := tab.withOwners()
	tab.check(again.(session.OwnerIniter).InitOwners(ctx)) // once more
	tab.wantOwned(again, "before", "mine")
	tab.InitTable = false
	tab.wantOwned(tab.withOwners(), "before", "mine")
	tab.wantIndexes("owner", 1)
}

// testOwnersOld has a table of the old library with columns of the app's own.
func testOwnersOld(tab *Table) {
	tab.Exec(strings.Replace(tab.OldTable, "%s", "%T", 1))
	tab.Exec("ALTER TABLE %T ADD COLUMN note VARCHAR(20)")
	tab.Exec("ALTER TABLE %T ADD COLUMN n INTEGER NOT NULL DEFAULT 7")
	tab.Exec("INSERT INTO %T (%k, %d, %e, note) VALUES ('old', ?, %(60), 'kept')", []byte("1"))
	b := tab.Init().withOwners()
	tab.wantIndex()
	tab.wantIndexes("owner", 1)
	tab.wantData(b, "old", "1")
	tab.wantOwned(b)
	tab.want(true)(b.Rename(ctx, "old", "new", []byte("1"), of("a", "2")))
	tab.want(true)(b.Insert(ctx, "newer", of("a", "1")))
	tab.wantOwned(b, "new", "newer")
	if n := tab.Scalar("SELECT COUNT(*) FROM %T WHERE note = 'kept' AND n = 7"); n != 1 {
		tab.Error("the columns of the app are not what they were")
	}
}

// testOwnersOldLibrary uses a table with owners by the statements of the old library.
func testOwnersOldLibrary(tab *Table) {
	b := tab.Init().withOwners()
	insert := "INSERT INTO %T (%k, %d, %e) VALUES (?, ?, %(60)) ON CONFLICT (%k) DO UPDATE SET %d = excluded.%d, %e = excluded.%e"
	if tab.Dialect.Insert != "" {
		insert = "INSERT INTO %T (%k, %d, %e) VALUES (?, ?, %(60)) ON DUPLICATE KEY UPDATE %d = VALUES(%d), %e = VALUES(%e)"
	}
	read := func(sid, want string) {
		tab.Helper()
		var data []byte
		tab.check(tab.DB.QueryRow(tab.sql("SELECT %d FROM %T WHERE %k = ?"), sid).Scan(&data))
		if string(data) != want {
			tab.Errorf("the old library reads %q, want %q", data, want)
		}
	}
	tab.want(true)(b.Insert(ctx, "ours", of("a", "1")))
	read("ours", "1")
	tab.Exec(insert, "ours", []byte("2"))
	tab.Exec(insert, "theirs", []byte("1"))
	tab.Exec(insert, "theirs", []byte("2"))
	read("theirs", "2")
	tab.wantData(b, "ours", "2")
	tab.wantData(b, "theirs", "2")
	tab.wantOwned(b, "ours")
	if n := tab.Scalar("SELECT COUNT(*) FROM %T WHERE owner IS NULL"); n != 1 {
		tab.Errorf("%d rows have no owner, want one", n)
	}
	tab.Exec("UPDATE %T SET %e = %(90) WHERE %k = ?", "ours")
	tab.want(true)(b.Swap(ctx, "theirs", []byte("2"), of("a", "3")))
	tab.wantOwned(b, "ours", "theirs")
	tab.Exec("DELETE FROM %T WHERE %k = ?", "ours")
	tab.wantOwned(b, "theirs")
	tab.Exec("UPDATE %T SET %e = %(-1)")
	tab.Exec("DELETE FROM %T WHERE %e <= %(0)")
	tab.wantOwned(b)
}

// Statements takes the statements out of an error of InitOwners.
func Statements(err error) []string {
	const begin = "\nALTER TABLE "
	if err == nil || !strings.Contains(err.Error(), begin) {
		return nil
	}
	text := err.Error()
	text = strings.TrimSuffix(text[strings.Index(text, begin)+1:], ";")
	return strings.Split(text, ";\n")
}

// testOwnersByHand runs the statements of the error at start: exactly these.
func testOwnersByHand(tab *Table) {
	names := map[string]string{"own_plain": "own_plain"}
	others := strings.NewReplacer("odd", "own", "Odd", "Own", "select", "order") // than those of testInitOddNames
	for name, quoted := range tab.oddNames() {
		names[others.Replace(name)] = others.Replace(quoted)
	}
	for name, quoted := range names {
		tab.named(name, quoted)
		tab.Exec("DROP TABLE IF EXISTS %T")
		tab.Exec(strings.Replace(tab.OldTable, "%s", "%T", 1))
		b := tab.Backend()
		err := b.(session.OwnerIniter).InitOwners(ctx)
		statements := Statements(err)
		if len(statements) != 2 || !strings.Contains(err.Error(), "InitTable") {
			tab.Fatalf("the error is %v", err)
		}
		tab.want(true)(b.Insert(ctx, "one", of("a", "1"))) // the table is as it was
		for _, statement := range statements {
			_, err := tab.DB.Exec(statement)
			tab.check(err)
		}
		if name == "own_plain" { // the query of the test knows no others everywhere
			tab.wantIndexes("owner", 1)
		}
		tab.check(b.(session.OwnerIniter).InitOwners(ctx))
		tab.want(true)(b.Insert(ctx, "two", of("a", "1")))
		tab.wantOwned(b, "two")
		tab.wantOwned(tab.Init().withOwners(), "two")
		tab.InitTable = false

		// InitTable does the same.
		tab.Exec("DROP TABLE %T")
		b = tab.Init().withOwners()
		tab.InitTable = false
		tab.want(true)(b.Insert(ctx, "two", of("a", "1")))
		tab.wantOwned(b, "two")
	}
}

func testOwnersNoIndex(tab *Table) {
	tab.Exec(strings.Replace(tab.OldTable, "%s", "%T", 1))
	tab.Exec("ALTER TABLE %T ADD COLUMN owner " + tab.Dialect.OwnerType)
	b := tab.withOwners()
	tab.want(true)(b.Insert(ctx, "one", of("a", "1")))
	tab.wantOwned(b, "one")
	tab.wantIndexes("owner", 0)
	tab.wantOwned(tab.Init().withOwners(), "one")
	tab.wantIndexes("owner", 1)
}

func testOwnersNoTable(tab *Table) {
	err := tab.Backend().(session.OwnerIniter).InitOwners(ctx)
	NoLeak(tab, err, "SELECT", "WHERE")
	if text := err.Error(); !strings.Contains(text, "there is no table") || !strings.Contains(text, tab.Config.Table) {
		tab.Errorf("the error is %v", err)
	}
}

// testOwnersOther has a column of that name that is the app's own.
func testOwnersOther(tab *Table) {
	for _, column := range []string{"INTEGER", "VARCHAR(20)", "DATE", tab.ownerNotNull()} {
		if column == "VARCHAR(20)" && tab.Dialect.Single {
			continue // the length says nothing there
		}
		tab.Exec(strings.Replace(tab.OldTable, "%s", "%T", 1))
		tab.Exec("ALTER TABLE %T ADD COLUMN owner " + column)
		for _, init := range []bool{false, true} {
			tab.InitTable = init
			err := tab.Backend().(session.OwnerIniter).InitOwners(ctx)
			NoLeak(tab, err, "SELECT")
			if !strings.Contains(err.Error(), tab.Config.Table) || !strings.Contains(err.Error(), tab.Dialect.OwnerType) {
				tab.Errorf("%s: the error is %v", column, err)
			}
		}
		tab.wantIndexes("owner", 0)
		tab.Exec("DROP TABLE %T")
	}
}

// ownerNotNull is the right type with a constraint that is wrong.
func (tab *Table) ownerNotNull() string {
	return strings.TrimSuffix(tab.Dialect.OwnerType, " NULL") + " NOT NULL DEFAULT 'x'"
}

func testOwnersParallel(tab *Table) {
	tab.Exec(strings.Replace(tab.OldTable, "%s", "%T", 1))
	tab.Init().share()
	backends := make([]session.Backend, 24)
	tab.race(func(i int) (_ bool, err error) {
		if backends[i], err = tab.open(); err == nil {
			err = backends[i].(session.OwnerIniter).InitOwners(ctx)
		}
		return true, err
	})
	if tab.Failed() {
		return // there are no backends to go on with
	}
	var sids []string
	for i, b := range backends {
		sids = append(sids, sid(i))
		tab.want(true)(b.Insert(ctx, sid(i), of("a", "1")))
		tab.wantOwned(b, sids...)
		tab.check(b.(interface{ Close() error }).Close())
	}
	tab.wantIndexes("owner", 1)
}

// ownedRows makes n rows past the store.
func (tab *Table) ownedRows(from, n int, data string, owner func(i int) string) {
	tab.Helper()
	values := make([]string, n)
	for i := range n {
		values[i] = fmt.Sprintf("('row%06d', '%s', %%(3600), '%s')", from+i, data, owner(from+i))
	}
	tab.Exec("INSERT INTO %T (%k, %d, %e, owner) VALUES " + strings.Join(values, ", "))
}

// testOwnersMany lists an owner of thousands of records, in one go.
func testOwnersMany(tab *Table) {
	const n = 5000
	b := tab.Init().withOwners()
	data := strings.Repeat("x", 1000)
	for from := 0; from < n; from += 1000 {
		tab.ownedRows(from, 1000, data, func(int) string { return "crowd" })
	}
	owned, err := b.(session.OwnerIndex).Owned(backendtest.Deadline(tab.TB, time.Minute), "crowd")
	tab.check(err)
	seen := make(map[string]bool)
	for _, rec := range owned {
		seen[rec.ID] = string(rec.Data) == data && rec.TTL > 50*time.Minute
	}
	if len(owned) != n || len(seen) != n {
		tab.Fatalf("%d records, %d IDs", len(owned), len(seen))
	}
	for sid, ok := range seen {
		if !ok {
			tab.Fatalf("%s is not what was written", sid)
		}
	}
}

// testOwnersIndex asks the server how it finds the rows of an owner.
func testOwnersIndex(tab *Table) {
	tab.Init().withOwners()
	for from := range 4 {
		tab.ownedRows(from*1000, 1000, "data", func(i int) string { return fmt.Sprint("owner", i%500) })
	}
	tab.Exec(tab.Analyze)
	heard := Hear(tab.TB, tab.Dialect, tab.Config.Table)
	owned := heard.Of(func(b session.Backend) { _, _ = b.(session.OwnerIndex).Owned(ctx, "owner7") })
	if len(owned) != 1 {
		tab.Fatalf("the list is %d statements: %q", len(owned), owned)
	}
	arg := "owner7"
	if tab.Dialect.HexOwner {
		arg = fmt.Sprintf("%x", arg)
	}
	plan := tab.plan(tab.Explain+owned[0], arg)
	if !strings.Contains(plan, tab.Config.Table+"_owner_idx") || strings.Contains(plan, "Seq Scan") {
		tab.Errorf("the index is not used: %s", plan)
	}
}

// plan returns what a server says of how it would run a query.
func (tab *Table) plan(query string, args ...interface{}) string {
	tab.Helper()
	rows, err := tab.DB.Query(query, args...)
	tab.check(err)
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	tab.check(err)
	values, dest := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		dest[i] = &values[i]
	}
	var plan []string
	for rows.Next() {
		tab.check(rows.Scan(dest...))
		for i, column := range columns {
			if column != "possible_keys" {
				plan = append(plan, values[i].String)
			}
		}
	}
	tab.check(rows.Err())
	return strings.Join(plan, " ")
}
