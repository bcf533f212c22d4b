package testserver

import (
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestMain(m *testing.M) {
	movePorts() // before Main plays a role
	Main(m)
}

// clearEnv makes the tests of a private server independent of the environment.
func clearEnv(t *testing.T) {
	for _, k := range byHand() {
		t.Setenv(k.override, "")
	}
}

// need skips the test where a program is not installed, as users of the package
// see it.
func need(t *testing.T, k *kind) {
	t.Helper()
	if _, err := k.programs(); errors.Is(err, errMissing) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
}

// Each server starts once, serves on the TCP port that its address names, and
// is gone with its folder and its supervisor when the group has stopped.
func TestServers(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			need(t, k)
			g := new(group)
			t.Cleanup(func() { _ = g.stop() })

			var wg sync.WaitGroup
			addrs := make([]string, 4)
			for i := range addrs {
				wg.Go(func() {
					var err error
					if addrs[i], err = g.address(k); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			s := g.slots[k]
			if runtime.GOOS == "linux" && len(processes(t, s.server.plan.Dir)) < 2 {
				t.Error("no process of server and supervisor is found, so none could be missed below")
			}
			if want := k.url(s.access); strings.Join(addrs, " ") != strings.TrimSpace(strings.Repeat(want+" ", len(addrs))) {
				t.Errorf("addresses are %q, want %q each time", addrs, want)
			}
			if err := dialTCP(s.access, k.probe); err != nil {
				t.Errorf("TCP port: %v", err)
			}

			if err := g.stop(); err != nil {
				t.Errorf("stop: %v", err)
			}
			if err := dialTCP(s.access, k.probe); err == nil {
				t.Error("still serves after stop")
			}
			if _, err := os.Stat(s.server.plan.Dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("folder after stop: %v, want it gone", err)
			}
			if left := processes(t, s.server.plan.Dir); len(left) > 0 {
				t.Errorf("processes after stop: %q", left)
			}
		})
	}
}

func dialTCP(a access, probe func(net.Conn) error) error {
	c, err := net.Dial("tcp", a.hostPort())
	if err != nil {
		return err
	}
	defer c.Close()
	return probe(c)
}

// processes lists those with the word in their command line or in their working
// directory, which Redis does not hide, on Linux.
func processes(t *testing.T, word string) []string {
	t.Helper()
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		line, _ := os.ReadFile(file)
		cwd, _ := os.Readlink(filepath.Join(filepath.Dir(file), "cwd"))
		if strings.Contains(string(line)+cwd, word) {
			found = append(found, cwd+": "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// The addresses log in, and only with their password: tests look for it in the
// messages of a refused login.
func TestLogin(t *testing.T) {
	clearEnv(t)
	run := func(name string, env []string, args ...string) (string, error) {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skipf("no client: %v", err)
		}
		cmd := exec.Command(path, args...)
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	t.Run("PostgreSQL", func(t *testing.T) {
		dsn := Postgres(t)
		const query = "SELECT current_user || current_setting('max_connections')"
		if out, err := run("psql", nil, "-Atc", query, dsn); err != nil || out != "tester300" {
			t.Errorf("psql: %q, %v", out, err)
		}
		wrong, _ := url.Parse(dsn)
		wrong.User = url.UserPassword("tester", "wrong")
		if out, err := run("psql", nil, "-Atc", query, wrong.String()); err == nil || !strings.Contains(out, "password authentication failed") {
			t.Errorf("psql with a wrong password: %q, %v", out, err)
		}
	})
	t.Run("MariaDB", func(t *testing.T) {
		dsn := MySQL(t)
		login, rest, _ := strings.Cut(dsn, "@tcp("+loopback+":")
		port, database, _ := strings.Cut(rest, ")/")
		user, password, _ := strings.Cut(login, ":")
		args := []string{"--no-defaults", "-h", loopback, "-P", port, "-u", user, "-N", "-e", "SELECT @@sql_mode, @@max_connections", database}
		if out, err := run("mariadb", []string{"MYSQL_PWD=" + password}, args...); err != nil ||
			!strings.Contains(out, "STRICT_TRANS_TABLES") || !strings.HasSuffix(out, "300") {
			t.Errorf("mariadb: %q, %v", out, err)
		}
		if out, err := run("mariadb", []string{"MYSQL_PWD=wrong"}, args...); err == nil || !strings.Contains(out, "Access denied") {
			t.Errorf("mariadb with a wrong password: %q, %v", out, err)
		}
	})
}

// Within a test process everybody gets the same server.
func TestShared(t *testing.T) {
	clearEnv(t)
	if a, b := Redis(t), Redis(t); a != b {
		t.Errorf("addresses are %q and %q", a, b)
	}
	if p := RedisPassword(); p != "" {
		t.Errorf("RedisPassword() = %q", p)
	}
}

// A port that is taken between the choice and the start is replaced by another,
// and a fixed one is an error.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	need(t, redis)
	l, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, taken, _ := net.SplitHostPort(l.Addr().String())

	g := new(group)
	defer g.stop()
	if _, err := g.start(redis, access{host: loopback, port: taken}); err == nil || !strings.Contains(err.Error(), "already in use") {
		t.Errorf("start on a taken port: %v", err)
	}

	plans := 0
	unlucky := *redis
	unlucky.plan = func(program, dir string, a access) plan {
		if plans++; plans == 1 {
			a.port = taken
		}
		return redis.plan(program, dir, a)
	}
	if _, err := g.address(&unlucky); err != nil || plans != 2 {
		t.Errorf("start after a taken port: %v, %d plans", err, plans)
	}
}

// A server that ends during the tests is reported in the end.
func TestServerDies(t *testing.T) {
	t.Parallel()
	brief := *redis
	brief.find = func() (string, error) { return "sh", nil }
	brief.probe = func(net.Conn) error { return nil }
	brief.plan = func(_, dir string, _ access) plan {
		return plan{
			Server: []string{"/bin/sh", "-c", "until test -e end; do sleep 0.01; done; echo no such luck; exit 3"},
			Socket: filepath.Join(dir, "s"),
		}
	}
	g := new(group)
	s, err := startSupervisor(withDir(t, brief.plan("", "", access{})))
	if err != nil {
		t.Fatal(err)
	}
	g.slots = map[*kind]*slot{&brief: {server: s}}
	if err := os.WriteFile(filepath.Join(s.plan.Dir, "end"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	<-s.gone
	if err := g.stop(); err == nil || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("stop: %v, want the end of the log", err)
	}
}

func withDir(t *testing.T, p plan) plan {
	t.Helper()
	p.Dir = t.TempDir()
	return p
}

// A port stays with whom it was given to, though nobody listens there now.
func TestFreePortStaysOurs(t *testing.T) {
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort(loopback, port)
	runtime.GC() // closes what nobody holds any more
	if err := reserve(addr); err == nil {
		t.Errorf("%s is given twice", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("%s is not for its server: %v", addr, err)
	}
	_ = l.Close()
}
