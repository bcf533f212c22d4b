package mysql_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/mysql"
)

func load(t testing.TB, zone string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// TestZones runs what depends on expired_at in zones whose clocks are never changed.
func TestZones(t *testing.T) {
	for _, zone := range []string{"Asia/Tokyo", "America/Phoenix", "Asia/Kathmandu", "Asia/Kolkata"} {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			loc := load(t, zone)
			_, offset := time.Now().In(loc).Zone()
			there := *env
			there.Dialect = mysql.InZone(loc)
			there.Time = strings.Replace(env.Time, "UTC_TIMESTAMP()", fmt.Sprintf("UTC_TIMESTAMP() + INTERVAL %d SECOND", offset), 1)
			there.Config = func(c sqlstore.Config) interface{} {
				in := config(c).(mysql.Config)
				if c.DB != nil {
					in.Location = loc
				}
				return in
			}
			there.Core(t, "?parseTime=true&loc="+url.QueryEscape(zone))
		})
	}
}

// wall is a time as the old library writes it.
const wall = "2006-01-02 15:04:05"

// TestClocksAreChanged: at a change of the clocks, and around it, sessions are read, kept
// and deleted by the time that they have, whoever has written them. The server has a clock
// that stands still.
func TestClocksAreChanged(t *testing.T) {
	for _, zone := range []string{"America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Chatham", "Asia/Kolkata"} {
		loc := load(t, zone)
		_, first := time.Now().In(loc).ZoneBounds()
		_, second := first.In(loc).ZoneBounds()
		if first.IsZero() {
			first, second = time.Now(), time.Now().AddDate(0, 6, 0)
		}
		for _, at := range []time.Time{first, second} {
			for _, after := range []time.Duration{-90 * time.Minute, -59 * time.Minute, -time.Second, 0, 20 * time.Minute, 61 * time.Minute} {
				now := at.Add(after).UTC().Truncate(time.Second)
				t.Run(fmt.Sprint(zone, now.Format(time.RFC3339)), func(t *testing.T) {
					t.Parallel()
					testClock(t, zone, loc, now)
				})
			}
		}
	}
}

func testClock(t *testing.T, zone string, loc *time.Location, now time.Time) {
	there := *env
	there.Dialect = mysql.InZone(loc)
	tab := there.New(t).Init()
	tab.Config.DSN += fmt.Sprintf("?parseTime=true&loc=%s&timestamp=%d", url.QueryEscape(zone), now.Unix())
	old := tab.Pool(tab.Config.DSN) // of the old library
	b := tab.Backend()
	// again is how much longer a session may live that ends in the hour that comes twice.
	again := func(end time.Time) time.Duration {
		_, before := end.Add(-3 * time.Hour).In(loc).Zone()
		_, after := end.Add(3 * time.Hour).In(loc).Zone()
		return time.Duration(max(before-after, 0)) * time.Second
	}
	check := func(sid string, ttl time.Duration) {
		t.Helper()
		rec, found, err := b.Load(ctx, sid)
		longest := ttl + again(now.Add(ttl))
		switch {
		case err != nil:
			t.Fatal(err)
		case found && longest <= 0:
			t.Errorf("a session that ended %v ago is live", -ttl)
		case !found && ttl > 0:
			t.Errorf("a session of %v is dead", ttl)
		case found && (rec.TTL < ttl || rec.TTL > longest):
			t.Errorf("a session of %v has %v left", ttl, rec.TTL)
		}
	}

	// Theirs.
	var all []time.Duration
	for ttl := -4 * time.Hour; ttl <= 4*time.Hour; ttl += 10 * time.Minute {
		all = append(all, ttl)
	}
	all = append(all, time.Second, 25*time.Hour, 100*24*time.Hour, 300*24*time.Hour)
	sid := func(whose string, ttl time.Duration) string {
		return whose + strings.NewReplacer("-", "minus", ".", "").Replace(ttl.String())
	}
	for _, ttl := range all {
		if _, err := old.Exec("INSERT INTO "+tab.Quoted+" VALUES (?, ?, ?)", sid("theirs", ttl), []byte("a"), now.Add(ttl)); err != nil {
			t.Fatal(err)
		}
		check(sid("theirs", ttl), ttl)
	}
	// Ours: the same wall time as theirs, by an insert, a swap, a rename and an extend.
	for _, ttl := range all {
		if ttl <= 0 {
			continue
		}
		ours := sid("ours", ttl)
		written := func(sid string) {
			t.Helper()
			check(sid, ttl)
			var end string
			if err := tab.DB.QueryRow("SELECT CAST(expired_at AS CHAR) FROM "+tab.Quoted+" WHERE `key` = ?", sid).Scan(&end); err != nil {
				t.Fatal(err)
			}
			if want := now.Add(ttl).In(loc).Format(wall); end != want {
				t.Errorf("%s ends at %s, the old library would write %s", sid, end, want)
			}
			var data []byte
			for _, at := range []time.Duration{-time.Second, time.Second} {
				err := old.QueryRow("SELECT data FROM "+tab.Quoted+" WHERE `key` = ? AND expired_at > ?", sid, now.Add(ttl+at)).Scan(&data)
				if again(now.Add(ttl)) == 0 && (err == nil) != (at < 0) {
					t.Errorf("the old library reads %s, %v after its end: %v", sid, at, err)
				}
			}
		}
		short, long := backendtest.Record("a", time.Second), backendtest.Record("b", ttl)
		must := func(ok bool, err error) {
			t.Helper()
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
		must(b.Insert(ctx, ours, long))
		written(ours)
		must(b.Swap(ctx, ours, long.Data, short))
		must(b.Swap(ctx, ours, short.Data, long))
		written(ours)
		must(b.Rename(ctx, ours, ours+"new", long.Data, long))
		written(ours + "new")
		must(b.Swap(ctx, ours+"new", long.Data, short))
		must(true, b.Extend(ctx, ours+"new", ttl))
		check(ours+"new", ttl)
		must(true, b.Extend(ctx, ours+"new", time.Second))
		check(ours+"new", ttl)
	}

	// GC deletes no live session, and all that have been dead for an hour.
	if more, err := b.Sweep(ctx); more || err != nil {
		t.Fatal(more, err)
	}
	for _, ttl := range all {
		switch n := tab.Scalar("SELECT COUNT(*) FROM %T WHERE %k = ?", sid("theirs", ttl)); {
		case n == 0 && ttl > 0:
			t.Errorf("GC has deleted a session that has %v left", ttl)
		case n == 1 && ttl <= -time.Hour:
			t.Errorf("GC has left a session that is dead since %v", -ttl)
		}
	}
	// In the place of a dead row.
	if ok, err := b.Insert(ctx, sid("theirs", -4*time.Hour), backendtest.Record("a", time.Hour)); !ok || err != nil {
		t.Fatal(ok, err)
	}
}

// TestLocation: a store takes the zone from the DSN, or from the Config.
func TestLocation(t *testing.T) {
	t.Parallel()
	tokyo := load(t, "Asia/Tokyo")
	for name, configure := range map[string]func(c *mysql.Config){
		"DSN": func(c *mysql.Config) { c.DSN += "?loc=Asia%2FTokyo" },
		"DB and Location": func(c *mysql.Config) {
			db, err := sql.Open("mysql", c.DSN)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			c.DB, c.Location = db, tokyo
		},
		"Location in place of loc": func(c *mysql.Config) { c.DSN += "?loc=America%2FNew_York"; c.Location = tokyo },
	} {
		t.Run(name, func(t *testing.T) {
			tab := env.New(t).Init()
			c := config(tab.Config).(mysql.Config)
			configure(&c)
			store := backendtest.OpenStore(t, mysql.Initer(), c)
			s := session.NewBaseSessionWithData("session1", session.GobEncoder, nil, session.Data{"key": 1})
			if err := store.Save(ctx, s); err != nil {
				t.Fatal(err)
			}
			if n := tab.Scalar("SELECT ROUND(TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), expired_at) / 3600) FROM %T"); n != 1+9 {
				t.Errorf("a session of an hour ends %d hours after UTC", n)
			}
			if !store.Exist(ctx, "session1") {
				t.Error("the session is not found")
			}
		})
	}
}

// listener is a driver that hears the statements of a store.
type listener struct {
	driver.Connector
	driver.Conn
	mu    sync.Mutex
	texts []string
}

var errHeard = errors.New("heard")

func (l *listener) Connect(context.Context) (driver.Conn, error) { return l, nil }
func (l *listener) Close() error                                 { return nil }

func (l *listener) Prepare(text string) (driver.Stmt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.texts, text) {
		l.texts = append(l.texts, text)
	}
	return nil, errHeard
}

// TestStatementsInUTC: without a loc, the statements are those that they have always been.
func TestStatementsInUTC(t *testing.T) {
	t.Parallel()
	l := &listener{}
	d := *mysql.InZone(time.UTC)
	d.Connector = func(string) (driver.Connector, error) { return l, nil }
	b, _, err := d.Open(ctx, sqlstore.Config{DSN: "any"})
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range backendtest.Operations(b) {
		if err := op(ctx); err == nil {
			t.Fatal("no error")
		}
	}
	if _, err := b.Sweep(ctx); err == nil {
		t.Fatal("no error")
	}
	const expiry = "UTC_TIMESTAMP() + INTERVAL (MICROSECOND(UTC_TIMESTAMP(6)) + ? * 1000 + 999999) DIV 1000000 SECOND"
	for _, want := range []string{
		"SELECT `data`, TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), `expired_at`) DIV 1000 FROM `sessions` WHERE `key` = ? AND `expired_at` > UTC_TIMESTAMP(6)",
		"INSERT INTO `sessions` (`key`, `data`, `expired_at`) VALUES (?, ?, " + expiry + ")",
		"UPDATE `sessions` SET `data` = ?, `expired_at` = " + expiry + " WHERE `key` = ? AND `data` = ? AND `expired_at` > UTC_TIMESTAMP(6)",
		"UPDATE `sessions` SET `key` = ?, `data` = ?, `expired_at` = " + expiry + " WHERE `key` = ? AND `data` = ? AND `expired_at` > UTC_TIMESTAMP(6)",
		"UPDATE `sessions` SET `expired_at` = " + expiry + " WHERE `key` = ? AND `expired_at` > UTC_TIMESTAMP(6) AND `expired_at` < " + expiry,
		"DELETE FROM `sessions` WHERE `key` = ?",
		"SELECT `key` FROM `sessions` WHERE `expired_at` <= UTC_TIMESTAMP(6) LIMIT 500",
	} {
		if !slices.Contains(l.texts, want) {
			t.Errorf("the store does not say %s", want)
		}
	}
	if t.Failed() {
		t.Log(strings.Join(l.texts, "\n"))
	}
}
