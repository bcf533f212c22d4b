package faults

import (
	"database/sql"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/child"
)

// onDisk are the subjects whose sessions are files of this machine.
func (s subject) onDisk() bool { return s.folder }

// inChild runs a row in a process of its own, which may get limits, mounts or a user that
// others must not get, and notes the figure that the row returns. The attributes of the process
// are nil for those of any other.
func inChild(t *testing.T, attributes func(*testing.T) *syscall.SysProcAttr, row func() string) {
	t.Helper()
	const env, mark = "FAULTS_CHILD", "figure: "
	if os.Getenv(env) != "" {
		fmt.Println(mark + row())
		return
	}
	var attr *syscall.SysProcAttr
	if attributes != nil {
		attr = attributes(t)
	}
	p := child.StartOnly(t, attr, env+"=1")
	p.Wait()
	_, text, found := strings.Cut(p.Output(), mark)
	require.True(t, found, "the process has not run this test: %s", p.Output())
	text, _, _ = strings.Cut(text, "\n")
	figure(t, "%s", text)
}

// trouble is a fault of a disk that comes and goes.
type trouble struct {
	// begin lets only so much go well: n inodes can be made, for example.
	begin func(n int)
	end   func()
	// steps says that with each n one more step of a request goes well. The row then counts
	// n up until the request succeeds. Without steps n is 0.
	steps bool
	fails bool // without steps: each request that writes fails
	reads bool // what is stored can be read meanwhile
	frees bool // what takes no room, as a logout, goes well even if n is 0

	texts []string // one of which each error holds
}

// ask is a request that writes.
type ask struct {
	name  string
	ready []string // what the visitor has visited before
	was   map[string]string
	path  string
	then  map[string]string // what is stored after the request; nil if nothing is
	frees bool
}

func asks() []ask {
	type seen = map[string]string
	long, longer, longest := secret+strings.Repeat("x", 4000), secret+strings.Repeat("y", 9000), secret+strings.Repeat("z", 18_000)
	a, me := set("a", "1"), set("c", "me")
	return []ask{
		{name: "first", path: set("b", long), then: seen{"b": long}},
		{name: "save", ready: []string{a}, was: seen{"a": "1"}, path: set("b", long), then: seen{"a": "1", "b": long}},
		{name: "save again", ready: []string{a, set("b", long), set("b", longer)}, was: seen{"a": "1", "b": longer}, path: set("b", longest), then: seen{"a": "1", "b": longest}},
		{name: "owner", ready: []string{a}, was: seen{"a": "1"}, path: me, then: seen{"a": "1", "c": "me"}},
		{name: "new owner", ready: []string{a, me}, was: seen{"a": "1", "c": "me"}, path: set("c", "you"), then: seen{"a": "1", "c": "you"}},
		{name: "renew", ready: []string{a, me}, was: seen{"a": "1", "c": "me"}, path: "/renew", then: seen{"a": "1", "c": "me"}},
		{name: "flash", ready: []string{a}, was: seen{"a": "1"}, path: "/flash?" + secret, then: seen{"a": "1", "flash": secret}},
		{name: "logout", ready: []string{a, me}, was: seen{"a": "1", "c": "me"}, path: "/logout", frees: true},
	}
}

// onDiskApp returns an app whose sessions are in a folder and may have owners.
func onDiskApp(t *testing.T, s subject, place string) *app {
	t.Helper()
	opts := s.at(place, "")
	opts.OwnerKey = "c"
	return newApp(t, opts)
}

// files are the names below a folder, but those that stay for good: the folders of the
// sessions, and the lock files.
func files(t *testing.T, place string) (names []string) {
	t.Helper()
	stays := regexp.MustCompile(`^(\.|[0-9a-z](/[0-9a-z])?|\.owner|\.lock(/.*)?)$`)
	require.NoError(t, filepath.WalkDir(place, func(path string, _ fs.DirEntry, err error) error {
		name, _ := filepath.Rel(place, path)
		if err == nil && !stays.MatchString(name) {
			names = append(names, name)
		}
		return err
	}))
	return names
}

// hit has visitors make all kinds of requests while there is trouble. A request that fails is a
// 500 with one error that says what is wrong. What was stored is still there, and there is no
// file that was not there before. The first request after the trouble succeeds. It returns how
// many requests failed.
func (tr trouble) hit(t *testing.T, a *app, place string) (failed int) {
	t.Helper()
	reader := a.visitor(t)
	reader.ok(set("a", "1"))
	for _, k := range asks() {
		for n := 0; ; n++ {
			require.Less(t, n, 200, "%s never succeeds", k.name)
			v := a.visitor(t)
			for _, path := range k.ready {
				v.ok(path)
			}
			require.Empty(t, a.TakeErrors())
			id, before := v.id, files(t, place)

			tr.begin(n)
			status, _ := v.visit(k.path)
			errs := a.TakeErrors()
			var seen, theirs map[string]string
			if tr.reads {
				theirs = reader.see()
				if status != http.StatusOK && id != "" {
					seen = v.see()
				}
			}
			more := a.TakeErrors()
			tr.end()

			if tr.reads {
				require.Equal(t, "1", theirs["a"], "a visitor who only reads")
				require.Empty(t, more)
			}
			if status == http.StatusOK {
				require.True(t, tr.steps || !tr.fails, "%s succeeds", k.name)
				require.Empty(t, errs, "%s at %d", k.name, n)
				k.check(t, a, id, v)
				break
			}
			require.False(t, !tr.steps && !tr.fails || tr.frees && k.frees, "%s fails: %v", k.name, errs)
			failed++
			require.Equal(t, http.StatusInternalServerError, status)
			require.Len(t, errs, 1, "%s at %d", k.name, n)
			tr.clear(t, errs[0], place, id)
			require.Equal(t, id, v.id, "the response has a cookie")
			for _, name := range files(t, place) {
				require.Contains(t, before, name, "%s at %d leaves a file: %v", k.name, n, errs)
			}
			if id != "" {
				if tr.reads {
					require.Equal(t, k.was, seen, "%s at %d", k.name, n)
				}
				require.Equal(t, k.was, v.see(), "%s at %d", k.name, n)
			}
			v.ok(k.path) // at once
			require.Empty(t, a.TakeErrors())
			k.check(t, a, id, v)
			if !tr.steps {
				break
			}
		}
	}
	return failed
}

// check looks whether the request has done what it says.
func (k ask) check(t *testing.T, a *app, before string, v *visitor) {
	t.Helper()
	if k.name == "renew" || k.name == "logout" {
		require.NotEqual(t, before, v.id, k.name)
		require.False(t, a.Store().Exist(t.Context(), before), "%s: the old ID is alive", k.name)
	}
	if k.then != nil {
		require.Equal(t, k.then, v.see(), k.name)
	}
}

// clear looks whether an error says in one line which step of which store has failed and why, and
// shows nothing of a session and no path but RootDir.
func (tr trouble) clear(t *testing.T, err error, place string, ids ...string) {
	t.Helper()
	text := err.Error()
	require.Regexp(t, `^session: (file: [a-z]+: RootDir "[^"]*"|sqlite: [a-z]+): [^\n]+$`, text)
	require.True(t, slices.ContainsFunc(tr.texts, func(part string) bool { return strings.Contains(text, part) }), "%s: none of %q", text, tr.texts)
	text = strings.Replace(text, "RootDir "+strconv.Quote(place), "", 1)
	for _, hidden := range append(ids, place, secret) {
		require.False(t, hidden != "" && strings.Contains(text, hidden), "%q is in %q", hidden, text)
	}
}

// sweep has GC remove dead sessions and their owners while there is trouble. It returns how often
// GC failed.
func (tr trouble) sweep(t *testing.T, s subject, place string) (failed int) {
	t.Helper()
	if s.name == "sqlite" {
		return tr.sweepRows(t, s, place)
	}
	for n := 0; ; n++ {
		require.Less(t, n, 200, "GC never succeeds")
		a := onDiskApp(t, s, place)
		var dead []string
		for range 8 {
			v := a.visitor(t)
			v.ok(set("c", "dead"))
			dead = append(dead, v.id)
			old := time.Now().Add(-2 * time.Hour)
			require.NoError(t, os.Chtimes(filepath.Join(place, v.id[:1], v.id[1:2], v.id), old, old))
		}
		require.NoError(t, a.Close())
		a = onDiskApp(t, s, place) // a process that has no lock file open, and a folder where one was needed so far
		require.NoError(t, os.RemoveAll(filepath.Join(place, ".lock")))
		a.visitor(t).ok(set("a", "1"))
		tr.begin(n)
		err := a.Store().GC(t.Context())
		tr.end()
		if err != nil {
			failed++
			require.False(t, tr.frees, "%v", err)
			tr.clear(t, err, place, dead...)
			for range 2 { // the first one goes on where GC has stopped
				require.NoError(t, a.Store().GC(t.Context()))
			}
		}
		for _, id := range dead {
			require.NoFileExists(t, filepath.Join(place, id[:1], id[1:2], id))
		}
		infos, listErr := session.Owned(t.Context(), a.Store(), "dead")
		require.NoError(t, listErr)
		require.Empty(t, infos)
		require.NoError(t, a.Close())
		if err == nil || !tr.steps {
			return failed
		}
	}
}

// sweepRows is sweep for SQLite. GC removes up to 500 rows in a step. A step that fails removes none,
// and what the steps before it have removed stays removed. So GC makes room even where it cannot go
// on. To begin each round with an empty log, no other app may have the file open.
func (tr trouble) sweepRows(t *testing.T, s subject, place string) (failed int) {
	t.Helper()
	const rows, step = 1200, 500
	open := func() *sql.DB {
		db, err := sql.Open("sqlite", filepath.Join(place, "sessions.db"))
		require.NoError(t, err)
		return db
	}
	halfway := 0
	for n := 0; ; n += rounds(8, 2) {
		require.Less(t, n, 400, "GC never succeeds")
		a := onDiskApp(t, s, place)
		v := a.visitor(t)
		v.ok(set("a", "1"))
		require.NoError(t, a.Close())
		db := open()
		_, err := db.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			INSERT INTO sessions (key, data, expired_at) SELECT printf('dead%012d', i), zeroblob(300), '2000-01-01 00:00:00' FROM n`, rows)
		require.NoError(t, err)
		require.NoError(t, db.Close())
		a = onDiskApp(t, s, place)
		v = a.with(t, v.id)
		v.see() // the files of the log are there

		tr.begin(n)
		err = a.Store().GC(t.Context())
		var seen map[string]string
		if tr.reads {
			seen = v.see()
		}
		tr.end()

		db = open()
		dead := func() (left int) {
			t.Helper()
			require.NoError(t, db.QueryRow("SELECT count(*) FROM sessions WHERE key LIKE 'dead%'").Scan(&left))
			return left
		}
		left := dead()
		if tr.reads {
			require.Equal(t, "1", seen["a"])
		}
		if err != nil {
			failed++
			tr.clear(t, err, place, v.id)
			require.Contains(t, []int{rows, rows - step, rows - 2*step}, left, "a step is made in part")
			if left < rows {
				halfway++
			}
			v.ok(set("b", "2")) // at once
			require.NoError(t, a.Store().GC(t.Context()))
			left = dead()
		}
		require.Zero(t, left)
		require.Equal(t, "1", v.see()["a"])
		require.NoError(t, db.Close())
		require.Empty(t, a.TakeErrors())
		require.NoError(t, a.Close())
		if err == nil || !tr.steps {
			break
		}
	}
	sound(t, filepath.Join(place, "sessions.db"))
	if tr.reads && tr.steps && full() { // in the short form the rooms are far apart, and may miss it
		require.NotZero(t, halfway, "no step of GC is made without the others")
	}
	return failed
}
