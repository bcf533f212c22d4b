package faults

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	gomysql "github.com/go-sql-driver/mysql"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
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
	name  string
	short bool // a part of the short form
	// at returns the options of an app whose sessions are in a place of this name: a table, a
	// collection, a prefix, a folder. Apps with the same place share their sessions. The server is
	// that of the address, in the form of testserver; a store without a server has none.
	at func(place, server string) session.Options
	// server starts the server that all tests share, durable one that can be killed. Both are nil
	// for a store without a server.
	server  func(testing.TB) string
	durable func(testing.TB) *testserver.Durable
	// through returns the address of a server as seen through a proxy, and its host:port.
	through func(server, proxy string) (changed, hostPort string)
	// skip tells what a driver asks by itself, for tcpproxy.Rules; nil for nothing.
	skip func(question []byte) bool
}

func (s subject) remote() bool { return s.server != nil }

var subjects = []subject{
	{
		name: "memory", short: true,
		at: func(string, string) session.Options { return session.Options{} },
	},
	{
		name: "file", short: true,
		at: func(place, _ string) session.Options {
			return session.Options{Initer: session.FileIniter(), Config: session.FileConfig{RootDir: place}}
		},
	},
	{
		name: "sqlite", short: true,
		at: func(place, _ string) session.Options {
			return session.Options{Initer: sqlite.Initer(), Config: sqlite.Config{DSN: filepath.Join(place, "sessions.db"), InitTable: true}}
		},
	},
	{
		name: "redis", short: true, server: testserver.Redis, durable: testserver.DurableRedis,
		at: func(place, server string) session.Options {
			return session.Options{Initer: redis.Initer(), Config: redis.Config{
				Options: &redis.Options{Addr: server, Password: testserver.RedisPassword()}, KeyPrefix: place + ":",
			}}
		},
		through: func(server, proxy string) (string, string) { return proxy, server },
	},
	{
		name: "postgres", server: testserver.Postgres, durable: testserver.DurablePostgres,
		at: func(place, server string) session.Options {
			return session.Options{Initer: postgres.Initer(), Config: postgres.Config{DSN: server, Table: place, InitTable: true}}
		},
		through: throughURL,
	},
	{
		name: "mysql", server: testserver.MySQL, durable: testserver.DurableMySQL,
		at: func(place, server string) session.Options {
			return session.Options{Initer: mysql.Initer(), Config: mysql.Config{DSN: server, Table: place, InitTable: true}}
		},
		through: func(server, proxy string) (string, string) {
			config, err := gomysql.ParseDSN(server)
			if err != nil {
				panic(err)
			}
			hostPort := config.Addr
			config.Addr = proxy
			return config.FormatDSN(), hostPort
		},
	},
	{
		name: "mongo", server: testserver.Mongo, durable: testserver.DurableMongo,
		at: func(place, server string) session.Options {
			return session.Options{Initer: mongo.Initer(), Config: mongo.Config{
				Options: options.Client().ApplyURI(server), Database: "faults", Collection: place,
			}}
		},
		through: func(server, proxy string) (string, string) {
			server, hostPort := throughURL(server, proxy)
			separator := "?"
			if strings.Contains(server, "?") {
				separator = "&"
			}
			return server + separator + "directConnection=true", hostPort // and not what a replica set knows of itself
		},
		skip: func(question []byte) bool { // who the server is, and how it is
			return bytes.Contains(bytes.ToLower(question), []byte("ismaster\x00")) || bytes.Contains(question, []byte("hello\x00"))
		},
	},
}

// throughURL is the through of a server whose address is a URL.
func throughURL(server, proxy string) (changed, hostPort string) {
	u, err := url.Parse(server)
	if err != nil {
		panic(err)
	}
	hostPort, u.Host = u.Host, proxy
	return u.String(), hostPort
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
	if s.name == "file" || s.name == "sqlite" {
		return t.TempDir()
	}
	return fmt.Sprintf("faults%08x", rand.Uint32())
}

// behind starts a proxy in front of the server, and returns the address through it. A store
// without a server has neither.
func (s subject) behind(t testing.TB, server string) (through string, p *tcpproxy.Proxy) {
	t.Helper()
	return s.ruled(t, server, tcpproxy.Rules{})
}

// ruled is behind with rules, of which Skip is that of the subject.
func (s subject) ruled(t testing.TB, server string, rules tcpproxy.Rules) (through string, p *tcpproxy.Proxy) {
	t.Helper()
	rules.Skip = s.skip
	_, hostPort := s.through(server, "")
	p = tcpproxy.New(t, hostPort, rules)
	through, _ = s.through(server, p.Addr())
	return through, p
}
