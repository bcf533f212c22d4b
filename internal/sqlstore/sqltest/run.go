package sqltest

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
)

// Run runs the conformance suite and the tests that all dialects share.
func (env *Env) Run(t *testing.T) {
	t.Run("conformance", func(t *testing.T) {
		backendtest.Conformance(t, env.Longer, func(t testing.TB, lifetime time.Duration) session.Options {
			return env.New(t).Init().Options(lifetime)
		})
	})
	for name, test := range map[string]func(*Table){
		"operations":         testOperations,
		"dead records":       testDead,
		"bytes":              testBytes,
		"expiry":             testExpiry,
		"expired_at":         testExpiredAt,
		"unknown types":      func(tab *Table) { backendtest.UnknownTypes(tab.TB, tab.Init().Backend(), "unknown") },
		"times to live":      func(tab *Table) { backendtest.TimesToLive(tab.TB, tab.Init().Backend(), "ttl") },
		"races":              testRaces,
		"sweep":              testSweep,
		"sweep in parallel":  testSweepParallel,
		"plain gob":          testGob,
		"init":               testInit,
		"init, old table":    testInitOld,
		"init, odd names":    testInitOddNames,
		"init in parallel":   testInitParallel,
		"no table":           testNoTable,
		"bad table names":    testBadNames,
		"bad config":         testBadConfig,
		"shared pool":        testSharedPool,
		"closed":             testClosed,
		"made later":         testMadeLater,
		"deadline of a lock": testCanceled,
		"max conns":          testMaxConns,
		"busy pool":          testBusyPool,

		"owners":                   testOwners,
		"owned beside renewals":    func(tab *Table) { backendtest.OwnedBesideRenewals(tab.TB, tab.Init().Backend(), "beside") },
		"end owned":                func(tab *Table) { backendtest.EndOwnedBesideRenewals(tab.TB, tab.Init().Backend(), "end", 2, 40) },
		"owners, new table":        testOwnersNew,
		"owners, old table":        testOwnersOld,
		"owners, old library":      testOwnersOldLibrary,
		"owners by hand":           testOwnersByHand,
		"owners, no index":         testOwnersNoIndex,
		"owners, no table":         testOwnersNoTable,
		"owners, column of others": testOwnersOther,
		"keys at rest":             testAtRest,
		"owners in parallel":       testOwnersParallel,
		"owners of many":           testOwnersMany,
		"owners, index":            testOwnersIndex,
	} {
		if env.Shared && name == "max conns" { // which is for the store's own pool
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(env.New(t))
		})
	}
}

func testOperations(tab *Table) {
	b := tab.Init().Backend()
	tab.wantData(b, "one", "")
	tab.want(false)(b.Swap(ctx, "one", []byte("a"), record("b", time.Minute)))
	tab.want(false)(b.Rename(ctx, "one", "two", []byte("a"), record("b", time.Minute)))
	tab.check(b.Extend(ctx, "one", time.Minute))
	tab.check(b.Delete(ctx, "one"))
	tab.wantData(b, "one", "")

	tab.want(true)(b.Insert(ctx, "one", record("a", time.Minute)))
	tab.want(false)(b.Insert(ctx, "one", record("b", time.Hour)))
	if rec := tab.wantData(b, "one", "a"); rec.TTL < 50*time.Second || rec.TTL > 61*time.Second {
		tab.Errorf("the record has %v left, want a minute", rec.TTL)
	}

	tab.want(false)(b.Swap(ctx, "one", []byte("A"), record("b", time.Hour)))
	tab.want(false)(b.Swap(ctx, "one", nil, record("b", time.Hour)))
	tab.wantData(b, "one", "a")
	tab.want(true)(b.Swap(ctx, "one", []byte("a"), record("b", time.Minute)))
	tab.wantData(b, "one", "b")

	tab.check(b.Extend(ctx, "one", time.Hour))
	tab.check(b.Extend(ctx, "one", time.Minute))
	if rec := tab.wantData(b, "one", "b"); rec.TTL < 59*time.Minute || rec.TTL > time.Hour+time.Second {
		tab.Errorf("the record has %v left, want an hour", rec.TTL)
	}

	tab.want(true)(b.Insert(ctx, "other", record("x", time.Minute)))
	tab.want(false)(b.Rename(ctx, "one", "two", []byte("a"), record("c", time.Minute)))
	tab.want(false)(b.Rename(ctx, "one", "other", []byte("b"), record("c", time.Minute)))
	tab.wantData(b, "one", "b")
	tab.wantData(b, "other", "x")
	tab.want(true)(b.Rename(ctx, "one", "two", []byte("b"), record("c", time.Minute)))
	tab.wantData(b, "one", "")
	tab.wantData(b, "two", "c")

	tab.check(b.Delete(ctx, "two"))
	tab.wantData(b, "two", "")
	tab.wantData(b, "other", "x")
}

func testDead(tab *Table) {
	b := tab.Init().Backend()
	for _, sid := range []string{"inserted", "swapped", "renamed", "extended"} {
		tab.want(true)(b.Insert(ctx, sid, record("a", time.Hour)))
	}
	tab.Exec("UPDATE %T SET %e = %(0)")
	tab.wantData(b, "swapped", "")
	tab.want(false)(b.Swap(ctx, "swapped", []byte("a"), record("b", time.Hour)))
	tab.want(false)(b.Rename(ctx, "renamed", "new", []byte("a"), record("b", time.Hour)))
	tab.check(b.Extend(ctx, "extended", time.Hour))
	for _, sid := range []string{"swapped", "renamed", "extended", "new"} {
		tab.wantData(b, sid, "")
	}
	tab.want(true)(b.Insert(ctx, "inserted", record("b", time.Hour)))
	tab.wantData(b, "inserted", "b")
}

func testBytes(tab *Table) {
	b := tab.Init().Backend()
	all := make([]byte, 0, 2*256)
	for i := range cap(all) {
		all = append(all, byte(i))
	}
	for sid, data := range map[string][]byte{
		"all": all, "nil": nil, "empty": {}, "zero": {0}, "spaces": []byte("a  "), "large": bytes.Repeat(all, 100),
	} {
		tab.want(true)(b.Insert(ctx, sid, session.Record{Data: data, TTL: time.Minute}))
		rec, found, err := b.Load(ctx, sid)
		tab.check(err)
		if !found || !bytes.Equal(rec.Data, data) {
			tab.Errorf("%s: found: %t, %d bytes, want %d", sid, found, len(rec.Data), len(data))
		}
		tab.want(false)(b.Swap(ctx, sid, append([]byte(" "), data...), record("b", time.Minute)))
		tab.want(false)(b.Swap(ctx, sid, append(data[:len(data):len(data)], ' '), record("b", time.Minute)))
		tab.want(true)(b.Swap(ctx, sid, data, record("b", time.Minute)))
	}
}

// testExpiry watches records die, each in the second after its TTL.
func testExpiry(tab *Table) {
	b := tab.Init().Backend()
	for _, ttl := range []time.Duration{time.Second, 1500 * time.Millisecond, 2001 * time.Millisecond} {
		sid := fmt.Sprint("sid", ttl.Milliseconds())
		begun := time.Now()
		tab.want(true)(b.Insert(ctx, sid, record("a", ttl)))
		written := time.Now()
		for {
			asked := time.Now()
			_, found, err := b.Load(ctx, sid)
			tab.check(err)
			if !found {
				if lived := time.Since(begun); lived < ttl {
					tab.Errorf("a record of %v is dead after %v", ttl, lived)
				}
				break
			}
			if asked.Sub(written) > ttl+time.Second+50*time.Millisecond {
				tab.Fatalf("a record of %v is alive after %v", ttl, asked.Sub(written))
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// testExpiredAt checks that it is the stored time that counts, to the second.
func testExpiredAt(tab *Table) {
	b := tab.Init().Backend()
	for sid, live := range map[string]bool{"-3600": false, "-1": false, "0": false, "3": true, "3600": true} {
		tab.Exec("INSERT INTO %T (%k, %d, %e) VALUES (?, ?, %("+sid+"))", "s"+sid[1:]+sid[:1], []byte("a"))
		_, found, err := b.Load(ctx, "s"+sid[1:]+sid[:1])
		tab.check(err)
		if found != live {
			tab.Errorf("a record that expires in %s seconds: found: %t", sid, found)
		}
	}
}

func testRaces(tab *Table) {
	b := tab.Init().Backend()
	insert := func(i int) (bool, error) {
		return b.Insert(ctx, "one", record(fmt.Sprint(i), time.Hour))
	}
	for round := range 5 {
		one := func(name string, f func(i int) (bool, error)) {
			tab.Helper()
			if n := tab.race(f); n != 1 {
				tab.Errorf("round %d: %d of many %s report true, want one", round, n, name)
			}
		}
		one("inserts", insert)
		tab.Exec("UPDATE %T SET %e = %(-5)")
		one("inserts on a dead record", insert)
		rec, _, err := b.Load(ctx, "one")
		tab.check(err)
		one("swaps", func(i int) (bool, error) {
			return b.Swap(ctx, "one", rec.Data, record(fmt.Sprint("swap", i), time.Hour))
		})
		rec, _, err = b.Load(ctx, "one")
		tab.check(err)
		one("renames", func(i int) (bool, error) {
			return b.Rename(ctx, "one", fmt.Sprint("new", round, "x", i), rec.Data, record("renamed", time.Minute))
		})
		tab.wantData(b, "one", "")
		if n := tab.Scalar("SELECT COUNT(*) FROM %T"); n != int64(round+1) {
			tab.Fatalf("round %d: %d records", round, n)
		}

		tab.want(true)(b.Insert(ctx, "extended", record("a", time.Minute)))
		tab.race(func(i int) (bool, error) {
			return true, b.Extend(ctx, "extended", time.Duration(i+1)*time.Hour)
		})
		if rec := tab.wantData(b, "extended", "a"); rec.TTL < 24*time.Hour-10*time.Second {
			tab.Errorf("round %d: the longest extension is lost, %v left", round, rec.TTL)
		}
		tab.check(b.Delete(ctx, "extended"))
	}
}

const dead, live = 1200, 7

// fill makes rows past the store.
func (tab *Table) fill() {
	tab.Helper()
	values := make([]string, 0, dead+live)
	for i := range dead {
		values = append(values, fmt.Sprintf("('dead%d', ?, %%(-%d))", i, i%3600))
	}
	for i := range live {
		values = append(values, fmt.Sprintf("('live%d', ?, %%(60))", i))
	}
	tab.Exec("INSERT INTO %T (%k, %d, %e) VALUES " + strings.ReplaceAll(strings.Join(values, ", "), "?", "'a'"))
}

func testSweep(tab *Table) {
	b := tab.Init().Backend()
	tab.fill()
	left := int64(dead + live)
	for _, want := range []struct {
		more bool
		n    int64
	}{{true, 500}, {true, 500}, {false, 200}, {false, 0}} {
		tab.want(want.more)(b.Sweep(ctx))
		left -= want.n
		if n := tab.Scalar("SELECT COUNT(*) FROM %T"); n != left {
			tab.Fatalf("%d records left, want %d", n, left)
		}
	}
}

func testSweepParallel(tab *Table) {
	b := tab.Init().Backend()
	tab.fill()
	tab.race(func(i int) (bool, error) {
		if i%2 == 0 {
			return b.Insert(ctx, fmt.Sprint("new", i), record("a", time.Hour))
		}
		for {
			if more, err := b.Sweep(ctx); !more || err != nil {
				return true, err
			}
		}
	})
	if n := tab.Scalar("SELECT COUNT(*) FROM %T"); n != live+12 {
		tab.Errorf("%d records left, want %d", n, live+12)
	}
}

// testGob exchanges records with programs that know nothing but gob.
func testGob(tab *Table) {
	tab.Exec(fmt.Sprintf(tab.OldTable, tab.Quoted))
	var buf bytes.Buffer
	old := map[interface{}]interface{}{"user_id": 123, 7: "seven", "bytes": []byte{0, 255}}
	tab.check(gob.NewEncoder(&buf).Encode(old))
	tab.Exec("INSERT INTO %T (%k, %d, %e) VALUES (?, ?, %(3600))", "theirs", buf.Bytes())

	store := tab.Store()
	s, err := store.Read(ctx, "theirs")
	tab.check(err)
	if s.Get("user_id") != 123 || s.Get(7) != "seven" || !bytes.Equal(s.Get("bytes").([]byte), []byte{0, 255}) {
		tab.Error("a record of plain gob is not read")
	}
	s.Set("mine", "too")
	tab.check(store.Save(ctx, s))

	var raw []byte
	tab.check(tab.DB.QueryRow(tab.sql("SELECT %d FROM %T WHERE %k = ? AND %e > %(3000) AND %e < %(3700)"), "theirs").Scan(&raw))
	var got map[interface{}]interface{}
	tab.check(gob.NewDecoder(bytes.NewReader(raw)).Decode(&got))
	if len(got) != 4 || got["user_id"] != 123 || got["mine"] != "too" {
		tab.Errorf("plain gob reads %v", got)
	}
}

// testCanceled has operations wait for a lock that somebody else holds.
func testCanceled(tab *Table) {
	b := tab.Init().Backend()
	tab.want(true)(b.Insert(ctx, "one", record("a", time.Minute)))
	tx, err := tab.DB.Begin()
	tab.check(err)
	_, err = tx.Exec(tab.sql("UPDATE %T SET %d = ?"), []byte("locked"))
	tab.check(err)

	begun := time.Now()
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	err = b.Extend(short, "one", time.Minute)
	NoLeak(tab, err, "one")
	if !errors.Is(err, context.DeadlineExceeded) {
		tab.Errorf("the error is not that of the context: %v", err)
	}
	if d := time.Since(begun); d > 1500*time.Millisecond {
		tab.Errorf("an operation of 300 ms takes %v", d)
	}

	// Who waits long enough succeeds.
	time.AfterFunc(200*time.Millisecond, func() { _ = tx.Rollback() })
	tab.want(true)(b.Swap(ctx, "one", []byte("a"), record("c", time.Minute)))
	tab.wantData(b, "one", "c")
}
