// Package testserver gives tests a real PostgreSQL, MariaDB, Redis, MongoDB
// (FerretDB), PgBouncer and nginx to talk to, with nothing to set up first.
//
// # Model
//
// A test asks for a server by [Postgres], [MySQL], [Redis], [Mongo] or [Nginx] and gets
// its address. The first such call in a test process starts a private server on
// a free loopback port with all of its state in a temporary folder; later calls
// share it. The package's TestMain is
//
//	func TestMain(m *testing.M) { testserver.Main(m) }
//
// which ends what was started. Test packages run in parallel each have servers
// of their own, tests within one package share them: use a table, key prefix or
// collection of your own in each test.
//
// Every server runs below a supervisor, which is the same executable started
// again. It holds the reading end of a pipe from the test process and, when that
// closes, ends the server and removes the folder. The kernel closes the pipe
// however the test process ends, so a panic, a test timeout and kill -9 all
// clean up along the path that every ordinary run takes. Tried before: the
// parent death signal alone, which is Linux only, follows a thread instead of
// the process, and leaves the folder behind. It remains as a second net, for
// when the supervisor is killed as well; then only the folder is left.
//
// Where they are set, these variables name a server to use instead of a private
// one, so that a real MongoDB or MySQL can be tested too; the first of each line
// decides, the others have the usual defaults:
//
//	PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE
//	MYSQL_HOST, MYSQL_PORT, MYSQL_USER, MYSQL_PASSWORD, MYSQL_DATABASE
//	REDIS_HOST, REDIS_PORT, REDIS_PASSWORD
//	MONGODB_URI
//
// There is none for nginx, which has to be configured for the tests.
//
// # Errors
//
// A server program that is not installed skips the test with the command that
// installs it. With CI=true it fails the test, as nobody reads skips there. A
// program that is there and does not serve fails the test with the end of its
// log.
//
// # Limits
//
// The initialization of a test package runs in its supervisors too, so it should
// be quick and do nothing that is seen outside.
//
// Private servers are built for speed, not for keeping data: nothing is synced
// to the disk and they are ended the short way. A [Durable] server keeps what it
// has answered when it is killed. They need a Unix. Only MariaDB's
// server is started, as MySQL's is confined to its own folders by AppArmor on
// Ubuntu; use MYSQL_HOST for it. As root, PostgreSQL and MariaDB run as the
// users postgres and mysql (or nobody), who must be able to enter the temporary
// folder's parents.
package testserver

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	// own are the servers of this test process, ended by Main.
	own group
	// underMain tells that Main will end what is started.
	underMain atomic.Bool
)

// Main runs the tests of a package, ends the servers they started, and exits
// with the code of the run. A TestMain calls it first thing, as the supervisors
// start there as well and never return from it.
func Main(m *testing.M) {
	Reexec()
	underMain.Store(true)
	code := m.Run()
	atEnd.mu.Lock()
	stops := atEnd.stops
	atEnd.mu.Unlock()
	stops = append(stops, own.stop)
	for _, stop := range stops {
		if err := stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

var atEnd struct {
	mu    sync.Mutex
	stops []func() error
}

// AtEnd has Main call a function after the tests, before it ends the servers: to end what the
// tests of a package share.
func AtEnd(stop func() error) {
	atEnd.mu.Lock()
	defer atEnd.mu.Unlock()
	atEnd.stops = append(atEnd.stops, stop)
}

// Postgres returns the address of a PostgreSQL server, as
// postgres://user:password@127.0.0.1:port/database?sslmode=disable. The user is
// a superuser who logs in by SCRAM, with a password that occurs nowhere else and
// so can be searched for in messages. max_connections is 300.
func Postgres(t testing.TB) string {
	t.Helper()
	return address(t, &own, postgres)
}

// MySQL returns the address of a MariaDB or MySQL server in the form of
// go-sql-driver/mysql, user:password@tcp(127.0.0.1:port)/database, without
// parameters: a test appends "?parseTime=true" or whatever it needs. The user
// may do everything, the SQL mode is the server's default (strict), and
// max_connections is 300.
func MySQL(t testing.TB) string {
	t.Helper()
	return address(t, &own, mysql)
}

// Redis returns the host:port of a Redis server. Its password is that of
// [RedisPassword], usually none. It has the 16 databases of the default.
func Redis(t testing.TB) string {
	t.Helper()
	return address(t, &own, redis)
}

// RedisPassword returns the password of the server that [Redis] names: that of
// the environment, and none for a private server.
func RedisPassword() string {
	if os.Getenv(redis.override) == "" {
		return ""
	}
	return os.Getenv("REDIS_PASSWORD")
}

// Mongo returns the address of a MongoDB server, as mongodb://127.0.0.1:port/.
// A private one is FerretDB on SQLite, which takes a while to build on the first
// use on a machine. It knows no TTL index, no update with a pipeline and no
// transaction.
func Mongo(t testing.TB) string {
	t.Helper()
	return address(t, &own, mongo)
}

// Nginx returns the address of an nginx, as http://127.0.0.1:port, that passes requests
// on to apps on the same machine. The path says how, and to which port:
//
//	/http10/PORT/path             as nginx does when it is told nothing
//	/http10-unbuffered/PORT/path  proxy_buffering off
//	/http10-tls/PORT/path         to an app with TLS
//	/http11/PORT/path             proxy_http_version 1.1
//	/http11-unbuffered/PORT/path  both
//
// The host app-PORT.localhost, with the port of the address, is a CDN in front of an app. It keeps
// what Cache-Control lets it keep, and heeds neither Vary nor Set-Cookie, as some do. The header
// X-Cache is HIT if the response is from the cache.
func Nginx(t testing.TB) string {
	t.Helper()
	return address(t, &own, nginx)
}

// address is the common part of them all: the environment's server, or the
// group's, or the end of the test.
func address(t testing.TB, g *group, k *kind) string {
	t.Helper()
	if k.override != "" && os.Getenv(k.override) != "" {
		return k.fromEnv()
	}
	if !underMain.Load() {
		t.Fatalf("testserver: no TestMain of this package calls testserver.Main, which would end %s", k.name)
	}
	addr, err := g.address(k)
	if err == nil {
		return addr
	}
	msg := err.Error()
	if k.override != "" {
		msg += fmt.Sprintf(" (or set %s to use a server that runs already)", k.override)
	}
	if ci, _ := strconv.ParseBool(os.Getenv("CI")); errors.Is(err, errMissing) && !ci {
		t.Skip(msg)
	}
	t.Fatal(msg)
	return "" // not reached, but a fake testing.TB may return
}

// OwnPostgres starts a PostgreSQL server for one test, to do with it as the test likes, and
// returns its address as [Postgres] does. The arguments are further ones of the program.
func OwnPostgres(t testing.TB, args ...string) string {
	t.Helper()
	addr, _ := alone(t, postgres, args)
	return addr
}

// OwnMySQL starts a MariaDB server for one test, to do with it as the test likes, and
// returns its address as [MySQL] does. The arguments are further ones of the program.
func OwnMySQL(t testing.TB, args ...string) string {
	t.Helper()
	addr, _ := alone(t, mysql, args)
	return addr
}

// alone starts a server that ends with the test.
func alone(t testing.TB, k *kind, args []string) (addr string, s *slot) {
	t.Helper()
	same := *k
	same.override = ""
	same.plan = func(programs, dir string, a access) plan {
		p := k.plan(programs, dir, a)
		p.Server = append(p.Server, args...)
		return p
	}
	g := new(group)
	addr = address(t, g, &same)
	t.Cleanup(func() {
		if err := g.stop(); err != nil {
			t.Error(err)
		}
	})
	return addr, g.slots[&same]
}
