package faults

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gomysql "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mongowire"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/mongo"
	"github.com/flamego/session/mysql"
	"github.com/flamego/session/postgres"
	"github.com/flamego/session/redis"
	"github.com/flamego/session/sqlite"
)

// subject is a kind of store.
type subject struct {
	name   string
	short  bool // a part of the short form
	folder bool // its places are folders
	// options is at with the Lifetime of the Config, zero for the default.
	options func(place, server string, lifetime time.Duration) session.Options
	// records counts the records in a place by another way than the store: see count. It is nil if
	// nobody else can look into the store.
	records func(t testing.TB, place, server string) int
	// server starts the server that all tests share, durable one that can be killed. Both are nil
	// for a store without a server.
	server  func(testing.TB) string
	durable func(testing.TB) *testserver.Durable
	// through returns the address of a server as seen through a proxy, and its host:port. It is nil
	// for a store without a server.
	through func(t testing.TB, server, proxy string) (changed, hostPort string)
	// timeout is what requests need that overlap in one session, 0 for the default. FerretDB compares
	// and writes in two steps. While it still works for a request that no longer waits for it, the
	// next one may be undone. MongoDB does not do that.
	timeout time.Duration
	// skip tells what a driver asks by itself, for tcpproxy.Rules; nil for nothing.
	skip func(question []byte) bool
}

// at returns the options of an app whose sessions are in a place of this name: a table, a
// collection, a prefix, a folder. Apps with the same place share their sessions. The server is
// that of the address, in the form of testserver; a store without a server has none.
func (s subject) at(place, server string) session.Options { return s.options(place, server, 0) }

func (s subject) remote() bool { return s.server != nil }

var subjects = []subject{
	{
		name: "memory", short: true,
		options: func(_, _ string, lifetime time.Duration) session.Options {
			return session.Options{Config: session.MemoryConfig{Lifetime: lifetime}}
		},
	},
	{
		name: "file", short: true, folder: true, records: inFolder,
		options: func(place, _ string, lifetime time.Duration) session.Options {
			return session.Options{Initer: session.FileIniter(), Config: session.FileConfig{Lifetime: lifetime, RootDir: place}}
		},
	},
	{
		name: "sqlite", short: true, folder: true,
		records: func(t testing.TB, place, _ string) int {
			return inTable(t, "sqlite", filepath.Join(place, "sessions.db"), "sessions")
		},
		options: func(place, _ string, lifetime time.Duration) session.Options {
			return session.Options{Initer: sqlite.Initer(), Config: sqlite.Config{
				Lifetime: lifetime, DSN: filepath.Join(place, "sessions.db"), InitTable: true,
			}}
		},
	},
	{
		name: "redis", short: true, server: testserver.Redis, durable: testserver.DurableRedis, records: inRedis,
		options: func(place, server string, lifetime time.Duration) session.Options {
			return session.Options{Initer: redis.Initer(), Config: redis.Config{
				Lifetime: lifetime, Options: &redis.Options{Addr: server, Password: testserver.RedisPassword()}, KeyPrefix: place + ":",
			}}
		},
		through: func(_ testing.TB, server, proxy string) (string, string) { return proxy, server },
	},
	{
		name: "postgres", server: testserver.Postgres, durable: testserver.DurablePostgres,
		records: func(t testing.TB, place, server string) int { return inTable(t, "pgx", server, place) },
		options: func(place, server string, lifetime time.Duration) session.Options {
			return session.Options{Initer: postgres.Initer(), Config: postgres.Config{
				Lifetime: lifetime, DSN: server, Table: place, InitTable: true,
			}}
		},
		through: throughURL,
	},
	{
		name: "mysql", server: testserver.MySQL, durable: testserver.DurableMySQL,
		records: func(t testing.TB, place, server string) int { return inTable(t, "mysql", server, place) },
		options: func(place, server string, lifetime time.Duration) session.Options {
			return session.Options{Initer: mysql.Initer(), Config: mysql.Config{
				Lifetime: lifetime, DSN: server, Table: place, InitTable: true,
			}}
		},
		through: func(t testing.TB, server, proxy string) (string, string) {
			t.Helper()
			config, err := gomysql.ParseDSN(server)
			require.NoError(t, err)
			hostPort := config.Addr
			config.Addr = proxy
			return config.FormatDSN(), hostPort
		},
	},
	{
		name: "mongo", server: testserver.Mongo, durable: testserver.DurableMongo, records: inMongo, timeout: 30 * time.Second,
		options: func(place, server string, lifetime time.Duration) session.Options {
			return session.Options{Initer: mongo.Initer(), Config: mongo.Config{
				Lifetime: lifetime, Options: options.Client().ApplyURI(server), Database: place, // FerretDB writes to each by itself
			}}
		},
		through: func(t testing.TB, server, proxy string) (string, string) {
			t.Helper()
			server, hostPort := throughURL(t, server, proxy)
			separator := "?"
			if strings.Contains(server, "?") {
				separator = "&"
			}
			return server + separator + "directConnection=true", hostPort // and not what a replica set knows of itself
		},
		skip: mongowire.IsHeartbeat,
	},
}

// throughURL is the through of a server whose address is a URL.
func throughURL(t testing.TB, server, proxy string) (changed, hostPort string) {
	t.Helper()
	u, err := url.Parse(server)
	require.NoError(t, err)
	hostPort, u.Host = u.Host, proxy
	return u.String(), hostPort
}

// eachBeside is each for a row that measures no times: in the full form, where it takes minutes, there
// are three subjects at a time (see the Makefile).
func eachBeside(t *testing.T, applies func(subject) bool, row func(t *testing.T, s subject)) {
	t.Helper()
	each(t, applies, func(t *testing.T, s subject) {
		if full() {
			t.Parallel()
		}
		row(t, s)
	})
}

// each runs a row on all subjects that it applies to, those of the short form unless all are
// asked for.
func each(t *testing.T, applies func(subject) bool, row func(t *testing.T, s subject)) {
	t.Helper()
	for _, s := range subjects {
		if applies(s) && (s.short || full()) {
			t.Run(s.name, func(t *testing.T) { row(t, s) })
		}
	}
}

// place returns a place of one test.
func (s subject) place(t testing.TB) string {
	t.Helper()
	if s.folder {
		return t.TempDir()
	}
	return fmt.Sprintf("faults%08x", rand.Uint32())
}

// behind starts a proxy in front of the server, and returns the address through it. It is only for
// a store that has a server.
func (s subject) behind(t testing.TB, server string) (through string, p *tcpproxy.Proxy) {
	t.Helper()
	return s.ruled(t, server, tcpproxy.Rules{})
}

// ruled is behind with rules, of which Skip is that of the subject.
func (s subject) ruled(t testing.TB, server string, rules tcpproxy.Rules) (through string, p *tcpproxy.Proxy) {
	t.Helper()
	rules.Skip = s.skip
	_, hostPort := s.through(t, server, "")
	p = tcpproxy.New(t, hostPort, rules)
	through, _ = s.through(t, server, p.Addr())
	return through, p
}
