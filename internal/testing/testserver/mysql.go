package testserver

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

var mysql = &kind{
	name:     "MariaDB",
	pkg:      "mariadb-server",
	override: "MYSQL_HOST",
	private:  access{user: "tester", password: secret, database: "test"},
	fixed: access{
		host: loopback, port: "33061",
		user: "session", password: "session", database: "session",
	},

	url: mysqlDSN,
	fromEnv: func() string {
		return mysqlDSN(access{
			host: os.Getenv("MYSQL_HOST"), port: env("MYSQL_PORT", "3306"),
			user: env("MYSQL_USER", "root"), password: os.Getenv("MYSQL_PASSWORD"),
			database: env("MYSQL_DATABASE", "test"),
		})
	},
	variables: func(a access) []string {
		return []string{
			"MYSQL_HOST=" + a.host, "MYSQL_PORT=" + a.port, "MYSQL_USER=" + a.user,
			"MYSQL_PASSWORD=" + a.password, "MYSQL_DATABASE=" + a.database,
		}
	},
	variable: MySQLVariable,

	// find returns both programs, one per line: they are in different folders.
	find: func() (string, error) {
		install, ok := lookPath("mariadb-install-db", "/usr/bin", "/usr/local/bin")
		server, ok2 := lookPath("mariadbd", "/usr/sbin", "/usr/local/sbin", "/usr/libexec")
		if !ok || !ok2 {
			return "", errMissing
		}
		return install + "\n" + server, nil
	},
	plan:  mysqlPlan,
	probe: probeMySQL,
}

func mysqlDSN(a access) string {
	login := a.user
	if a.password != "" {
		login += ":" + a.password
	}
	return fmt.Sprintf("%s@tcp(%s)/%s", login, a.hostPort(), a.database)
}

func mysqlPlan(programs, dir string, a access) plan {
	install, server, _ := strings.Cut(programs, "\n")
	// --no-defaults has to be the first: the machine's own configuration names
	// folders of the machine's own server. Without it the character set would be
	// latin1, where every distribution configures utf8mb4.
	common := []string{
		"--no-defaults", "--datadir=" + filepath.Join(dir, "data"), "--tmpdir=" + dir,
		"--skip-log-bin", "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M",
		"--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci",
	}
	socket := filepath.Join(dir, "s")
	return plan{
		Users: []string{"mysql", "nobody"},
		// Run before the server takes connections. One statement per line.
		Files: map[string]string{"init.sql": fmt.Sprintf(
			"CREATE DATABASE IF NOT EXISTS `%s`;\n"+
				"CREATE USER IF NOT EXISTS '%s'@'%%' IDENTIFIED BY '%s';\n"+
				"GRANT ALL ON *.* TO '%[2]s'@'%%' WITH GRANT OPTION;\n",
			a.database, a.user, a.password)},
		Setup: [][]string{append(append([]string{install}, common...),
			"--auth-root-authentication-method=normal", "--skip-test-db")},
		Server: append(append([]string{server}, common...),
			"--init-file="+filepath.Join(dir, "init.sql"),
			"--socket="+socket, "--pid-file="+filepath.Join(dir, "pid"),
			"--bind-address="+a.host, "--port="+a.port, "--skip-name-resolve",
			"--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--max-connections=300"),
		Socket: socket,
		// Nothing is worth an orderly shutdown.
		Signal: int(syscall.SIGKILL),
	}
}

// probeMySQL waits for the greeting, which the server sends first.
func probeMySQL(c net.Conn) error {
	var greeting [5]byte // length, number, version of the protocol
	if _, err := io.ReadFull(c, greeting[:]); err != nil {
		return err
	}
	if greeting[4] != 10 {
		return fmt.Errorf("greeting has protocol %d, want 10", greeting[4])
	}
	return nil
}
