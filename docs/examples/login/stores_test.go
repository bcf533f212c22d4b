package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/flamego/session/internal/testing/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// The app works with each store.
func TestStores(t *testing.T) {
	t.Parallel()
	dsns := map[string]func(t *testing.T) string{
		"memory":   func(*testing.T) string { return "" },
		"file":     func(t *testing.T) string { return filepath.Join(t.TempDir(), "sessions") },
		"sqlite":   func(t *testing.T) string { return filepath.Join(t.TempDir(), "sessions.db") },
		"postgres": func(t *testing.T) string { return testserver.Postgres(t) },
		"mysql":    func(t *testing.T) string { return testserver.MySQL(t) },
		"redis": func(t *testing.T) string {
			return "redis://:" + testserver.RedisPassword() + "@" + testserver.Redis(t) + "/0"
		},
		"mongo": func(t *testing.T) string { return strings.TrimSuffix(testserver.Mongo(t), "/") + "/login" },
	}
	for name := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &site{t: t}
			s.open(name, dsns[name](t))
			laptop, phone := s.signedUp("alice"), s.signedIn("alice")
			laptop.page("/")
			assert.Contains(t, laptop.page("/"), "<strong>2</strong> visits")
			assert.Contains(t, laptop.page("/session"), "<dd>"+stores[name].title+"</dd>")
			assert.Len(t, laptop.handles(), 2)
			laptop.post("/devices/end-others")
			assert.False(t, phone.isIn())
			assert.True(t, laptop.isIn())
			laptop.post("/signout")
			assert.False(t, laptop.isIn())
		})
	}
}

// What is wrong with the flags is said, with an example and without the password.
func TestWrongFlags(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	for _, c := range []struct{ store, dsn, want string }{
		{"oracle", "", "none of memory, file"},
		{"memory", "x", "takes no -dsn"},
		{"file", "/dev/null/x", "-dsn 'sessions'"},
		{"sqlite", "/dev/null/x", "-dsn 'sessions.db'"},
		{"postgres", "", "-dsn 'postgres://user:password@"},
		{"postgres", "secret", "-dsn 'postgres://user:password@"},
		{"mysql", "", "-dsn 'user:password@tcp("},
		{"mysql", "secret", "-dsn 'user:password@tcp("},
		{"redis", "", "-dsn 'redis://127.0.0.1"},
		{"redis", "redis://:secret@host:port", "-dsn 'redis://127.0.0.1"},
		{"mongo", "", "-dsn 'mongodb://user:password@"},
		{"mongo", "mongodb://u:secret@host", "-dsn 'mongodb://user:password@"},
	} {
		_, err := openSessions(sessionOptions(false), c.store, c.dsn, db)
		require.ErrorContains(t, err, c.want, "%s %s", c.store, c.dsn)
		assert.NotContains(t, err.Error(), "secret")
	}
	require.ErrorContains(t, run("nowhere/login.db", "memory", "", false), "nowhere/login.db (-db)")

	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("text ", 1000)), 0o600))
	require.ErrorContains(t, run(text, "memory", "", false), "text (-db)")
	file := filepath.Join(dir, "login.db")
	require.ErrorContains(t, run(file, "oracle", "", false), "none of memory, file")
	require.FileExists(t, file)
	assert.NoFileExists(t, file+"-wal", "the database is closed, which removes it")
}

// The file with the passwords and the sessions is for one user of the machine.
// A name that SQLite takes for something else would leave the passwords in another file.
func TestDatabaseName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", ":memory:", "file:login.db", "a?b.db"} {
		_, err := openDB(name)
		assert.ErrorContains(t, err, "want the name of a file", name)
	}
}

func TestDatabaseFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "login.db")
	db, err := openDB(file)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	_, err = newUsers(db, bcrypt.MinCost)
	require.NoError(t, err)
	sessions, err := openSessions(sessionOptions(false), "sqlite", "", db)
	require.NoError(t, err)
	require.NoError(t, sessions.Close())
	assert.NoError(t, db.Ping(), "the pool is still open")
	for _, name := range []string{file, file + "-wal", file + "-shm"} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
	}
}

// A name that nobody has takes as long as one that somebody has: what takes time is the hash, and
// there is one in either case, of the same cost.
func TestUnknownNames(t *testing.T) {
	t.Parallel()
	people, err := newUsers(newDB(t), bcrypt.MinCost+1)
	require.NoError(t, err)
	_, err = people.add(t.Context(), "alice", password)
	require.NoError(t, err)
	var costs []int
	people.compare = func(hash, password []byte) error {
		cost, err := bcrypt.Cost(hash)
		require.NoError(t, err)
		costs = append(costs, cost)
		return bcrypt.CompareHashAndPassword(hash, password)
	}
	for _, name := range []string{"alice", "nobody"} {
		_, err := people.check(t.Context(), name, "wrong horse")
		require.ErrorIs(t, err, errWrong)
	}
	assert.Equal(t, []int{people.cost, people.cost}, costs)
}
