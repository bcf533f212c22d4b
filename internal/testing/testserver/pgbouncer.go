package testserver

import (
	"cmp"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// pgbouncer is a PgBouncer that has no server behind it: [PgBouncer] gives it one.
var pgbouncer = &kind{
	name:    "PgBouncer",
	pkg:     "pgbouncer",
	private: access{user: "tester", password: secret, database: "postgres"},

	url: func(a access) string { return postgresURL(a, "disable") },

	find: func() (string, error) {
		path, ok := lookPath("pgbouncer", "/usr/sbin", "/usr/local/sbin", "/usr/local/bin")
		if !ok {
			return "", errMissing
		}
		return path, nil
	},
	plan: func(program, dir string, a access) plan {
		return pgbouncerPlan(program, dir, a, access{host: loopback, port: "1"}, nil)
	},
	probe: probeLogin("tester"),
}

// PgBouncer starts a PgBouncer of one test in front of a PostgreSQL server, whose address is of
// the form that [Postgres] returns. It shares 5 connections in transaction mode. The settings are
// further lines of its configuration, such as "default_pool_size = 2". The user of the address
// is its administrator.
func PgBouncer(t testing.TB, server string, settings ...string) *Durable {
	t.Helper()
	if !underMain.Load() {
		t.Fatal("testserver: no TestMain of this package calls testserver.Main")
	}
	behind, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	socket := behind.Query() // where the address has a socket in place of a port
	to := access{
		host: cmp.Or(behind.Hostname(), socket.Get("host")),
		port: cmp.Or(behind.Port(), socket.Get("port")),
	}
	a := access{host: loopback, user: behind.User.Username(), database: strings.TrimPrefix(behind.Path, "/")}
	a.password, _ = behind.User.Password()

	same := *pgbouncer
	same.plan = func(program, dir string, a access) plan { return pgbouncerPlan(program, dir, a, to, settings) }
	same.probe = probeLogin(a.user)
	_, err = same.programs()
	needed(t, "", err)
	s, a, err := launch(&same, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return &Durable{URL: same.url(a), Addr: a.hostPort(), k: &same, s: s}
}

// pgbouncerPlan has PgBouncer know the password in the clear, as it needs that itself to log in to
// a server by SCRAM.
func pgbouncerPlan(program, dir string, a, to access, settings []string) plan {
	const config = `
[databases]
* = host=%[1]s port=%[2]s
[pgbouncer]
listen_addr = %[3]s
listen_port = %[4]s
unix_socket_dir = %[5]s
auth_type = scram-sha-256
auth_file = %[5]s/users
admin_users = %[6]s
log_connections = 0
log_disconnections = 0
pool_mode = transaction
max_client_conn = 300
default_pool_size = 5
server_login_retry = 1
%[7]s
`
	quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
	file := filepath.Join(dir, "pgbouncer.ini")
	return plan{
		Users: []string{"postgres", "nobody"}, // it refuses to run as root
		Files: map[string]string{
			"pgbouncer.ini": fmt.Sprintf(config, to.host, to.port, a.host, a.port, dir, a.user, strings.Join(settings, "\n")),
			"users":         quote(a.user) + " " + quote(a.password) + "\n",
		},
		Server: []string{program, file},
		Socket: filepath.Join(dir, ".s.PGSQL."+a.port),
		Signal: int(syscall.SIGKILL),
	}
}
