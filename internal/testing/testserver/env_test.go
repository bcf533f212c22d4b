package testserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// fake is a testing.TB that records how the test ended.
type fake struct {
	testing.TB
	skipped, failed string
}

func (f *fake) Helper()                           {}
func (f *fake) Skip(args ...any)                  { f.skipped = fmt.Sprint(args...); runtime.Goexit() }
func (f *fake) Fatal(args ...any)                 { f.failed = fmt.Sprint(args...); runtime.Goexit() }
func (f *fake) Fatalf(format string, args ...any) { f.Fatal(fmt.Sprintf(format, args...)) }

// askAddress runs address with a fake test, to its end or to that of the function.
func askAddress(g *group, k *kind) (*fake, string) {
	var addr string
	f := new(fake)
	var wg sync.WaitGroup
	wg.Go(func() { addr = address(f, g, k) })
	wg.Wait()
	return f, addr
}

// The environment's server is used where one is named.
func TestEnvironment(t *testing.T) {
	for _, tt := range []struct {
		name string
		get  func(testing.TB) string
		env  string
		want string
	}{
		{"Postgres", Postgres, "PGHOST=db PGPORT= PGUSER= PGPASSWORD= PGDATABASE= PGSSLMODE=",
			"postgres://postgres@db:5432/postgres?sslmode=disable"},
		{"Postgres full", Postgres, "PGHOST=::1 PGPORT=1 PGUSER=u PGPASSWORD=p@/ PGDATABASE=d PGSSLMODE=require",
			"postgres://u:p%40%2F@[::1]:1/d?sslmode=require"},
		{"Postgres socket", Postgres, "PGHOST=/run/pg PGPORT=1 PGUSER=u PGPASSWORD=p PGDATABASE=d PGSSLMODE=",
			"postgres://u:p@/d?host=%2Frun%2Fpg&port=1&sslmode=disable"},
		{"MySQL", MySQL, "MYSQL_HOST=db MYSQL_PORT= MYSQL_USER= MYSQL_PASSWORD= MYSQL_DATABASE=",
			"root@tcp(db:3306)/test"},
		{"MySQL full", MySQL, "MYSQL_HOST=::1 MYSQL_PORT=1 MYSQL_USER=u MYSQL_PASSWORD=p MYSQL_DATABASE=d",
			"u:p@tcp([::1]:1)/d"},
		{"Redis", Redis, "REDIS_HOST=db REDIS_PORT=", "db:6379"},
		{"Redis full", Redis, "REDIS_HOST=db REDIS_PORT=1", "db:1"},
		{"Redis password", func(testing.TB) string { return RedisPassword() }, "REDIS_HOST=db REDIS_PASSWORD=p", "p"},
		{"Mongo", Mongo, "MONGODB_URI=mongodb://u:p@db/?x=y", "mongodb://u:p@db/?x=y"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, v := range strings.Fields(tt.env) {
				name, value, _ := strings.Cut(v, "=")
				t.Setenv(name, value)
			}
			if got := tt.get(t); got != tt.want {
				t.Errorf("address is %q, want %q", got, tt.want)
			}
		})
	}
	// What "make servers" prints makes the tests use its servers.
	for _, k := range byHand() {
		t.Run("fixed "+k.name, func(t *testing.T) {
			for _, v := range k.variables(k.fixed) {
				name, value, _ := strings.Cut(v, "=")
				t.Setenv(name, value)
			}
			if got, want := k.fromEnv(), k.url(k.fixed); got != want {
				t.Errorf("address is %q, want %q", got, want)
			}
		})
	}
}

// What "make servers" prints is for a shell to read, whatever an address has in it.
func TestPrintedForShell(t *testing.T) {
	clearEnv(t)
	var out strings.Builder
	printServers(&out)
	for _, k := range byHand() {
		got, err := exec.Command("sh", "-c", out.String()+"printenv "+k.variable).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(got), k.url(k.fixed)+"\n"; got != want {
			t.Errorf("%s is %q, want %q", k.variable, got, want)
		}
	}
}

// A program that is not there skips, or fails with CI=true, and the message
// says what to do. One that does not work always fails, with its log.
func TestUnusable(t *testing.T) {
	clearEnv(t)
	absent, absentNginx := *postgres, *nginx
	absent.find = func() (string, error) { return "", errMissing }
	absentNginx.find = absent.find
	broken := *redis
	broken.find = func() (string, error) { return "sh", nil }
	broken.plan = func(_, dir string, _ access) plan {
		return plan{Server: []string{"/bin/sh", "-c", "echo no such luck; exit 3"}, Socket: filepath.Join(dir, "s")}
	}
	setup := broken
	setup.plan = func(_, dir string, _ access) plan {
		return plan{Setup: [][]string{{"/bin/sh", "-c", "echo no such luck; exit 3"}}, Socket: filepath.Join(dir, "s")}
	}
	nobody := broken
	nobody.plan = func(_, dir string, _ access) plan {
		return plan{Users: []string{"no-such-luck"}, Server: []string{"/bin/true"}, Socket: filepath.Join(dir, "s")}
	}
	for _, tt := range []struct {
		name, ci string
		kind     *kind
		skip     bool
		want     string
	}{
		{"absent", "", &absent, true, "PostgreSQL is not installed: apt-get install postgresql (or set PGHOST"},
		{"absent", "true", &absent, false, "PostgreSQL is not installed: apt-get install postgresql (or set PGHOST"},
		{"absent nginx", "", &absentNginx, true, "nginx is not installed: apt-get install nginx"},
		{"absent nginx", "true", &absentNginx, false, "nginx is not installed: apt-get install nginx"},
		{"broken", "", &broken, false, "no such luck"},
		{"broken", "true", &broken, false, "exit status 3"},
		{"setup fails", "", &setup, false, "no such luck"},
		{"no user", "", &nobody, false, "no-such-luck"},
	} {
		t.Run(tt.name+" CI="+tt.ci, func(t *testing.T) {
			if tt.kind == &nobody && os.Getuid() != 0 {
				t.Skip("only root looks for a user")
			}
			t.Setenv("CI", tt.ci)
			f, _ := askAddress(new(group), tt.kind)
			got := f.failed
			if tt.skip {
				got = f.skipped
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("skipped %q, failed %q, want %q", f.skipped, f.failed, tt.want)
			}
		})
	}
}
