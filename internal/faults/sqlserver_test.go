package faults

import (
	"database/sql"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gomysql "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v4/stdlib" // the driver "pgx"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/mysql"
	"github.com/flamego/session/postgres"
	"github.com/flamego/session/sqlite"
)

// sqlKind is what the rows about SQL servers have to know of a subject to make its server refuse.
type sqlKind struct {
	driver string // of database/sql
	key    string // the column
	own    func(testing.TB, ...string) string
	// admin returns the address for an administrator, to whom the settings of the server do not apply.
	admin func(server string) string
	// visitor are the statements that make an ordinary user, and as is the address for the user.
	visitor []string
	as      func(server, user, password string) string
	// set are the statements that change a setting of the server.
	set func(name, value string) []string
	// blocked counts the statements that wait for a lock.
	blocked string
}

const appUser, appPassword = "visitor", "canary-app"

var sqlKinds = map[string]sqlKind{
	"postgres": {
		driver: "pgx", key: "key", own: testserver.OwnPostgres,
		admin: func(server string) string {
			return server + "&statement_timeout=0&default_transaction_read_only=off&default_transaction_isolation=read%20committed"
		},
		visitor: []string{
			"CREATE ROLE " + appUser + " LOGIN PASSWORD '" + appPassword + "'", "GRANT ALL ON SCHEMA public TO " + appUser,
		},
		as: func(server, user, password string) string {
			u, err := url.Parse(server)
			if err != nil {
				panic(err)
			}
			u.User = url.UserPassword(user, password)
			return u.String()
		},
		set: func(name, value string) []string {
			return []string{"ALTER SYSTEM SET " + name + " = '" + value + "'", "SELECT pg_reload_conf()"}
		},
		blocked: "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
	},
	"mysql": {
		driver: "mysql", key: "`key`", own: testserver.OwnMySQL,
		admin: func(server string) string { return server + "?max_statement_time=0" },
		visitor: []string{
			"CREATE USER '" + appUser + "'@'%' IDENTIFIED BY '" + appPassword + "'",
			"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX ON test.* TO '" + appUser + "'@'%'",
		},
		as: func(server, user, password string) string {
			config, err := gomysql.ParseDSN(server)
			if err != nil {
				panic(err)
			}
			config.User, config.Passwd = user, password
			return config.FormatDSN()
		},
		set: func(name, value string) []string { return []string{"SET GLOBAL " + name + " = " + value} },
		// The server looks again only if nobody has asked for 0.1 s.
		blocked: "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
	},
}

func isSQLServer(s subject) bool { _, ok := sqlKinds[s.name]; return ok }

func isSQL(s subject) bool { return s.name == "sqlite" || isSQLServer(s) }

// sqlServer is a server of one test, with an administrator, and an ordinary user for the app.
type sqlServer struct {
	sqlKind
	t   testing.TB
	db  *sql.DB // of the administrator
	url string  // for the app
}

func newSQLServer(t testing.TB, s subject, args ...string) *sqlServer {
	t.Helper()
	k := sqlKinds[s.name]
	root := k.own(t, args...)
	server := &sqlServer{sqlKind: k, t: t, db: k.open(t, k.admin(root)), url: k.as(root, appUser, appPassword)}
	server.exec(k.visitor...)
	return server
}

// open opens a pool that is closed at the end of the test.
func (k sqlKind) open(t testing.TB, server string) *sql.DB {
	t.Helper()
	db, err := sql.Open(k.driver, server)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func (s *sqlServer) exec(statements ...string) {
	s.t.Helper()
	for _, statement := range statements {
		_, err := s.db.Exec(statement)
		require.NoError(s.t, err, statement)
	}
}

// set changes a setting of the server, and waits until all connections have it.
func (s *sqlServer) set(name, value string) {
	s.t.Helper()
	s.exec(s.sqlKind.set(name, value)...)
	if s.driver == "pgx" {
		time.Sleep(200 * time.Millisecond) // each connection is told by a signal
	}
}

func (s *sqlServer) number(query string) (n int) {
	s.t.Helper()
	require.NoError(s.t, s.db.QueryRow(query).Scan(&n), query)
	return n
}

// waitBlocked waits until so many statements wait for a lock.
func (s *sqlServer) waitBlocked(n int) {
	s.t.Helper()
	time.Sleep(150 * time.Millisecond) // MariaDB shows for a tenth of a second what it has shown before
	require.Eventually(s.t, func() bool { return s.number(s.blocked) >= n }, 10*time.Second, 150*time.Millisecond)
}

// dialCounter counts the connections that are made to a proxy.
type dialCounter struct{ atomic.Int64 }

func (c *dialCounter) wrap(conn net.Conn) net.Conn {
	c.Add(1)
	return conn
}

// behindCounted is behind, with a function that counts the connections that were tried.
func (s subject) behindCounted(t testing.TB, server string) (through string, p *tcpproxy.Proxy, tried *dialCounter) {
	t.Helper()
	tried = new(dialCounter)
	_, hostPort := s.through(t, server, "")
	p = tcpproxy.New(t, hostPort, tcpproxy.Rules{Wrap: tried.wrap})
	through, _ = s.through(t, server, p.Addr())
	return through, p, tried
}

// pooled returns the options with a pool of n connections: db if it is not nil, and else one of the
// store's own.
func pooled(opts session.Options, n int, db *sql.DB) session.Options {
	if db != nil {
		db.SetMaxOpenConns(n)
		db.SetMaxIdleConns(n)
	}
	switch config := opts.Config.(type) {
	case postgres.Config:
		config.MaxConns, config.DB = n, db
		opts.Config = config
	case mysql.Config:
		config.MaxConns, config.DB = n, db
		opts.Config = config
	case sqlite.Config:
		config.MaxConns, config.DB = n, db
		opts.Config = config
	}
	return opts
}

// visitors are n visitors of an app, each of whom has stored n=0.
func (a *app) visitors(t testing.TB, n int) []*visitor {
	t.Helper()
	all := make([]*visitor, n)
	for i := range all {
		all[i] = a.visitor(t)
		all[i].ok(set("n", "0"))
	}
	return all
}

// atOnce has all visitors make a request at the same time. It returns the statuses, and how long the
// slowest took.
func atOnce(all []*visitor, path func(i int) string) (statuses []int, slowest time.Duration) {
	statuses = make([]int, len(all))
	took := make([]time.Duration, len(all))
	var wg sync.WaitGroup
	for i, v := range all {
		wg.Go(func() {
			begun := time.Now()
			statuses[i], _ = v.visit(path(i))
			took[i] = time.Since(begun)
		})
	}
	wg.Wait()
	for _, d := range took {
		slowest = max(slowest, d)
	}
	return statuses, slowest
}

// oneClearError fails unless n requests have reported one error each, which says one of the texts
// and shows no secret.
func oneClearError(t testing.TB, errs []error, n int, texts ...string) {
	t.Helper()
	require.Len(t, errs, n)
	noSecrets(t, errs, "canary", appPassword, "UPDATE", "SELECT", "://", "@tcp")
	for _, err := range errs {
		said := false
		for _, text := range texts {
			said = said || strings.Contains(err.Error(), text)
		}
		if !said {
			t.Errorf("the error says none of %q: %v", texts, err)
		}
	}
}
