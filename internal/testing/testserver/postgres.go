package testserver

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// secret is the password on private servers: a word that is in no message by
// chance, so that a test can prove that it does not leak.
const secret = "canary-7f3a9c"

var postgres = &kind{
	name:     "PostgreSQL",
	pkg:      "postgresql",
	override: "PGHOST",
	private:  access{user: "tester", password: secret, database: "postgres"},
	fixed: access{
		host: loopback, port: "54321",
		user: "postgres", password: "postgres", database: "postgres",
	},

	url: func(a access) string { return postgresURL(a, "disable") },
	fromEnv: func() string {
		user := env("PGUSER", "postgres")
		return postgresURL(access{
			host: os.Getenv("PGHOST"), port: env("PGPORT", "5432"),
			user: user, password: os.Getenv("PGPASSWORD"), database: env("PGDATABASE", user),
		}, env("PGSSLMODE", "disable"))
	},
	variables: func(a access) []string {
		return []string{
			"PGHOST=" + a.host, "PGPORT=" + a.port, "PGUSER=" + a.user,
			"PGPASSWORD=" + a.password, "PGDATABASE=" + a.database, "PGSSLMODE=disable",
		}
	},
	variable: PostgresVariable,

	// Debian and the packages of postgresql.org keep the server out of $PATH, as
	// several versions can be installed.
	find: func() (string, error) {
		path, ok := lookPath("initdb", "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
		if !ok {
			return "", errMissing
		}
		// In $PATH it may be a link to a folder that has the other programs.
		if path, err := filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
		return filepath.Dir(path), nil
	},
	plan:  postgresPlan,
	probe: probeLogin("probe"),
}

func postgresURL(a access, sslmode string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(a.user, a.password),
		Host:     a.hostPort(),
		Path:     "/" + a.database,
		RawQuery: url.Values{"sslmode": {sslmode}}.Encode(),
	}
	if a.password == "" {
		u.User = url.User(a.user)
	}
	if strings.HasPrefix(a.host, "/") { // the folder of a Unix socket, as in libpq
		u.Host = ""
		u.RawQuery = url.Values{"sslmode": {sslmode}, "host": {a.host}, "port": {a.port}}.Encode()
	}
	return u.String()
}

func postgresPlan(bin, dir string, a access) plan {
	data := filepath.Join(dir, "data")
	return plan{
		Users: []string{"postgres", "nobody"},
		Files: map[string]string{"password": a.password + "\n"},
		Setup: [][]string{{
			filepath.Join(bin, "initdb"), "--no-sync", "--no-instructions", "-D", data, "-U", a.user,
			"-A", "scram-sha-256", "--pwfile", filepath.Join(dir, "password"), "-E", "UTF8", "--locale=C",
		}},
		Server: []string{
			filepath.Join(bin, "postgres"), "-D", data, "-p", a.port, "-h", a.host, "-k", dir,
			"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off",
			"-c", "max_connections=300",
		},
		Socket: filepath.Join(dir, ".s.PGSQL."+a.port),
		// "Immediate shutdown". After SIGKILL its shared memory would stay.
		Signal: int(syscall.SIGQUIT),
	}
}

// probeLogin begins to log in. A server that serves asks for the password
// ('R'), one that is still starting up sends an error ('E').
func probeLogin(user string) func(net.Conn) error {
	return func(c net.Conn) error {
		const protocol = 3 << 16
		body := "user\x00" + user + "\x00database\x00postgres\x00\x00"
		msg := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
		msg = binary.BigEndian.AppendUint32(msg, protocol)
		if _, err := c.Write(append(msg, body...)); err != nil {
			return err
		}
		var kind [1]byte
		if _, err := io.ReadFull(c, kind[:]); err != nil {
			return err
		}
		if kind[0] != 'R' {
			return errors.New("not ready to log in")
		}
		return nil
	}
}
