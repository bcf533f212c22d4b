package testserver

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

var redis = &kind{
	name:     "Redis",
	pkg:      "redis-server",
	override: "REDIS_HOST",
	fixed:    access{host: loopback, port: "63791"},

	url: access.hostPort,
	fromEnv: func() string {
		return access{host: os.Getenv("REDIS_HOST"), port: env("REDIS_PORT", "6379")}.hostPort()
	},
	variables: func(a access) []string {
		return []string{"REDIS_HOST=" + a.host, "REDIS_PORT=" + a.port}
	},
	variable: RedisVariable,

	find: func() (string, error) {
		path, ok := lookPath("redis-server", "/usr/bin", "/usr/local/bin")
		if !ok {
			return "", errMissing
		}
		return path, nil
	},
	plan: func(program, dir string, a access) plan {
		socket := filepath.Join(dir, "s")
		return plan{
			Server: []string{
				program, "--bind", a.host, "--port", a.port, "--unixsocket", socket,
				"--dir", dir, "--save", "", "--appendonly", "no", "--daemonize", "no",
			},
			Socket: socket,
			Signal: int(syscall.SIGKILL),
		}
	},
	probe: func(c net.Conn) error {
		if _, err := io.WriteString(c, "PING\r\n"); err != nil {
			return err
		}
		answer, err := bufio.NewReader(c).ReadString('\n')
		if err == nil && answer != "+PONG\r\n" {
			err = fmt.Errorf("PING is answered by %q", answer)
		}
		return err
	},
}
