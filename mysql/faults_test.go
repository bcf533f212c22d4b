package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/mysql"
)

func through(dsn, addr string) (changed, server string) {
	return tcp.ReplaceAllString(dsn, "tcp("+addr+")"), tcp.FindStringSubmatch(dsn)[1]
}

func TestOutage(t *testing.T) { env.Outage(t, through) }

func TestLostAnswers(t *testing.T) { env.Lost(t, through) }

func TestUnprepared(t *testing.T) { env.Unprepared(t, through) }

func TestDeadConnections(t *testing.T) { env.Dead(t, through) }

func execAll(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
}

// user makes a user who may use tables, and returns dsn for him.
func user(t testing.TB, db *sql.DB, dsn, name, options string) string {
	t.Helper()
	execAll(t, db, fmt.Sprintf("CREATE USER '%s'@'%%' IDENTIFIED BY 'secret' %s", name, options),
		fmt.Sprintf("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX ON *.* TO '%s'@'%%'", name))
	t.Cleanup(func() { _, _ = db.Exec(fmt.Sprintf("DROP USER '%s'@'%%'", name)) })
	_, rest, _ := strings.Cut(dsn, "@")
	return name + ":secret@" + rest
}

func TestLockedRow(t *testing.T) {
	t.Parallel()
	tab := env.New(t)
	name := "u" + tab.Config.Table
	tab.Config.DSN = user(t, tab.DB, tab.Config.DSN, name, "")
	tab.Locked(func() int64 {
		return tab.Scalar("SELECT COUNT(*) FROM information_schema.processlist WHERE user = ?", name)
	})
}

// TestLockedTable: who waits for a table that somebody changes does not wait for a year.
func TestLockedTable(t *testing.T) {
	t.Parallel()
	tab := env.New(t).Init()
	b := tab.Backend()
	c, err := tab.DB.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.ExecContext(ctx, "LOCK TABLES "+tab.Quoted+" WRITE"); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(2500*time.Millisecond, func() { _, _ = c.ExecContext(ctx, "UNLOCK TABLES") })
	if err := b.Delete(ctx, "session1"); err != nil {
		t.Fatal(err)
	}
}

// TestLockWait reads back what a connection was told, which the DSN may say otherwise.
func TestLockWait(t *testing.T) {
	t.Parallel()
	for params, want := range map[string][2]int{
		"":                            {1, 1},
		"?innodb_lock_wait_timeout=7": {7, 1},
		"?lock_wait_timeout=7":        {1, 7},
		"?@@session.LOCK_WAIT_TIMEOUT=7&SESSION innodb_lock_wait_timeout=8": {8, 7},
	} {
		c, err := mysql.Dialect.Connector(testserver.MySQL(t) + params)
		if err != nil {
			t.Fatal(err)
		}
		db := sql.OpenDB(c)
		var got [2]int
		err = db.QueryRow("SELECT @@innodb_lock_wait_timeout, @@lock_wait_timeout").Scan(&got[0], &got[1])
		if err != nil || got != want {
			t.Errorf("%s: %v, want %v: %v", params, got, want, err)
		}
		_ = db.Close()
	}
}

// TestTimed: a connection has the deadline itself, unless the DSN has deadlines of its own.
// Only then does the driver watch each operation.
func TestTimed(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]bool{
		"u:p@tcp(127.0.0.1)/db": true, "u:p@unix(/socket)/db": true, "u:p@mine(127.0.0.1:1)/db": false,
		"u:p@tcp(127.0.0.1)/db?readTimeout=1s": false, "u:p@tcp(127.0.0.1)/db?writeTimeout=1s": false,
	} {
		c, err := mysql.Dialect.Connector(dsn)
		if err != nil {
			t.Fatal(err)
		}
		if c.(interface{ Timed() bool }).Timed() != want {
			t.Errorf("%s: timed: %t", dsn, !want)
		}
	}
}

// TestDialFunc has a network of the app's own. An operation ends in time there too.
func TestDialFunc(t *testing.T) {
	t.Parallel()
	_, server := through(testserver.MySQL(t), "")
	p := tcpproxy.New(t, server, tcpproxy.Rules{})
	driver.RegisterDialContext("mine", func(ctx context.Context, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", p.Addr())
	})
	own := *env
	own.DSN = func(t testing.TB) string { return tcp.ReplaceAllString(testserver.MySQL(t), "mine(host)") }
	t.Run("operations", func(t *testing.T) { own.Core(t, "") })
	b := own.New(t).Init().Backend()
	p.Set(tcpproxy.Freeze)
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := b.Delete(short, "session1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
	p.Set(tcpproxy.Pass)
}

// TestUserLimit has a user with a few connections.
func TestUserLimit(t *testing.T) {
	t.Parallel()
	tab := env.New(t).Init()
	tab.Backend()
	tab.Config.DSN = user(t, tab.DB, tab.Config.DSN, "few"+tab.Config.Table, "WITH MAX_USER_CONNECTIONS 4")
	tab.Crowd()
}

// TestServerLimit has a server with 10 connections, the least that it can have. Six are in
// use.
func TestServerLimit(t *testing.T) {
	t.Parallel()
	own := *env
	dsn := testserver.OwnMySQL(t, "--max-connections=10")
	own.DSN = func(testing.TB) string { return dsn }
	tab := own.New(t).Init()
	tab.Backend()
	for range 6 { // and that of tab.DB is one of them
		c, err := tab.DB.Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	// A user who may do everything has one connection more.
	tab.Config.DSN = user(t, tab.Pool(dsn), dsn, "ordinary", "")
	tab.Crowd()
}

// TestNoPreparedStatements has a server that prepares nothing any more: for a store that has
// prepared its statements, on further connections, and for one that starts then.
func TestNoPreparedStatements(t *testing.T) {
	t.Parallel()
	own := *env
	dsn := testserver.OwnMySQL(t)
	own.DSN = func(testing.TB) string { return dsn }
	own.Params = "?interpolateParams=true"
	tab := own.New(t).Init()
	b := tab.Backend()
	tab.Exec("INSERT INTO %T (%k, %d, %e) VALUES ('one', 'a', %(60))")
	if _, _, err := b.Load(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	tab.Exec("SET GLOBAL max_prepared_stmt_count = 0")
	tab.FillPool(b)
	own.Core(t, "")
}

// access is how the server finds the rows of a query.
func access(t *testing.T, db *sql.DB, query string) string {
	t.Helper()
	rows, err := db.Query("EXPLAIN " + query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	values := make([]sql.NullString, len(columns))
	dest := make([]any, len(columns))
	for i := range values {
		dest[i] = &values[i]
	}
	if !rows.Next() || rows.Scan(dest...) != nil || rows.Err() != nil {
		t.Fatal("no explanation")
	}
	return values[slices.Index(columns, "type")].String
}

// TestLiteral: the server uses the index for a key that is written into a statement.
func TestLiteral(t *testing.T) {
	t.Parallel()
	for _, charset := range []string{"utf8mb4", "utf8mb3", "latin1", "ascii"} {
		tab := env.New(t)
		tab.Exec("CREATE TABLE %T (`key` VARCHAR(255) PRIMARY KEY, `data` BLOB NOT NULL, `expired_at` DATETIME NOT NULL) CHARSET=" + charset)
		tab.Exec("INSERT INTO %T (%k, %d, %e) VALUES ('session1', '', %(60)), ('session2', '', %(60)), ('session3', '', %(60))")
		for _, comparison := range []string{"= " + mysql.Literal("session1"), "IN (" + mysql.Literal("session1") + ", " + mysql.Literal("session9") + ")"} {
			how := access(t, tab.DB, "SELECT data FROM "+tab.Quoted+" FORCE INDEX (PRIMARY) WHERE `key` "+comparison)
			if !slices.Contains([]string{"const", "range"}, how) {
				t.Errorf("%s, %s: the access is %q", charset, comparison, how)
			}
		}
	}
}

func TestFailover(t *testing.T) {
	t.Parallel()
	start := func(t testing.TB) sqltest.Server {
		dsn := testserver.OwnMySQL(t)
		db, err := sql.Open("mysql", dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return sqltest.Server{
			DSN:      user(t, db, dsn, "ordinary", ""),
			ReadOnly: func(is bool) { execAll(t, db, fmt.Sprintf("SET GLOBAL read_only = %t", is)) },
		}
	}
	env.Failover(t, through, start)
	t.Run("network of the app", func(t *testing.T) {
		driver.RegisterDialContext("direct", func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		})
		env.Failover(t, func(dsn, addr string) (changed, server string) {
			_, server = through(dsn, "")
			return tcp.ReplaceAllString(dsn, "direct("+addr+")"), server
		}, start)
	})
}

// TestNoInnoDB: a server without InnoDB does not know all variables that the store sets.
func TestNoInnoDB(t *testing.T) {
	t.Parallel()
	dsn := testserver.OwnMySQL(t, "--skip-innodb", "--default-storage-engine=MyISAM")
	m, err := session.New(session.Options{Initer: mysql.Initer(), Config: mysql.Config{DSN: dsn, InitTable: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s := session.NewBaseSessionWithData("session1", nil, nil, session.Data{"key": 1})
	if err := m.Store().Save(ctx, s); err != nil {
		t.Error(err)
	}
	if !m.Store().Exist(ctx, "session1") {
		t.Error("the session is not there")
	}
}
