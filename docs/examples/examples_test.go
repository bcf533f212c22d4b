// Package examples tests the programs in the folders below.
package examples

import (
	"bytes"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/internal/testing/webapp"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// example is a program and what is special about it.
type example struct {
	name   string
	env    func(t *testing.T) []string          // how to reach its server
	leaves string                               // a file or folder that it makes where it runs
	closes bool                                 // it ends by itself when it is interrupted
	walk   func(t *testing.T, v, other visitor) // its own addresses
}

var examples = []example{
	{name: "memory"},
	{name: "file", leaves: "sessions", closes: true},
	{name: "sqlite", leaves: "app.db", closes: true},
	{name: "postgres", env: postgresEnv, closes: true},
	{name: "mysql", env: mysqlEnv, closes: true},
	{name: "redis", env: redisEnv, closes: true},
	{name: "mongo", env: mongoEnv, closes: true},
	{name: "flash", walk: walkFlash},
	{name: "flash-struct", walk: walkFlashStruct},
}

func TestExamples(t *testing.T) {
	dir := buildExamples(t)
	for _, ex := range examples {
		t.Run(ex.name, func(t *testing.T) {
			t.Parallel()
			var env []string
			if ex.env != nil {
				env = ex.env(t)
			}
			home := t.TempDir()
			address := start(t, filepath.Join(dir, ex.name), home, env, ex.closes)
			v, other := newVisitor(t, address), newVisitor(t, address)

			assert.Contains(t, v.get("/"), `href="/set"`)
			assert.Equal(t, "Not authenticated", v.get("/get"))
			assert.Equal(t, "Succeed", v.get("/set"))
			assert.Equal(t, "Authenticated as 123", v.get("/get"))
			assert.Equal(t, "Not authenticated", other.get("/get"), "another visitor")
			if ex.leaves != "" {
				assert.FileExists(t, leftBehind(t, home, ex.leaves))
			}
			assert.Equal(t, "Cleared", v.get("/clear"))
			assert.Equal(t, "Not authenticated", v.get("/get"))
			if ex.walk != nil {
				ex.walk(t, v, other)
			}
		})
	}
}

func walkFlash(t *testing.T, v, other visitor) {
	assert.Equal(t, "No message", v.get("/message"))
	assert.Equal(t, "Your changes are saved", v.get("/save"), "after the redirect")
	assert.Equal(t, "No message", v.get("/message"), "the second time")
	assert.Equal(t, "No message", other.get("/message"), "another visitor")
}

func walkFlashStruct(t *testing.T, v, other visitor) {
	assert.Equal(t, "No message", v.get("/message"))
	assert.Equal(t, "Info: Your changes are saved", v.get("/save"), "after the redirect")
	assert.Equal(t, "No message", v.get("/message"), "the second time")
	assert.Equal(t, "Error 28: The disk is full", v.get("/fail"), "after the redirect")
	assert.Equal(t, "No message", v.get("/message"), "the second time")
	assert.Equal(t, "No message", other.get("/message"), "another visitor")
}

// Where no server program is installed, the examples of that server are skipped.

func postgresEnv(t *testing.T) []string {
	u, err := url.Parse(testserver.Postgres(t))
	require.NoError(t, err)
	password, _ := u.User.Password()
	return []string{
		"PGHOST=" + u.Hostname(), "PGPORT=" + u.Port(), "PGUSER=" + u.User.Username(), "PGPASSWORD=" + password,
		"PGDATABASE=" + strings.TrimPrefix(u.Path, "/"), "PGSSLMODE=" + u.Query().Get("sslmode"),
	}
}

func mysqlEnv(t *testing.T) []string {
	c, err := mysqldriver.ParseDSN(testserver.MySQL(t))
	require.NoError(t, err)
	host, port, err := net.SplitHostPort(c.Addr)
	require.NoError(t, err)
	return []string{
		"MYSQL_HOST=" + host, "MYSQL_PORT=" + port, "MYSQL_USER=" + c.User, "MYSQL_PASSWORD=" + c.Passwd,
		"MYSQL_DATABASE=" + c.DBName,
	}
}

func redisEnv(t *testing.T) []string {
	host, port, err := net.SplitHostPort(testserver.Redis(t))
	require.NoError(t, err)
	return []string{"REDIS_HOST=" + host, "REDIS_PORT=" + port, "REDIS_PASSWORD=" + testserver.RedisPassword()}
}

func mongoEnv(t *testing.T) []string {
	return []string{"MONGODB_URI=" + testserver.Mongo(t), "MONGODB_DATABASE=session_examples"}
}

// buildExamples builds all programs and returns the folder they are in.
func buildExamples(t *testing.T) string {
	t.Helper()
	var names []string
	for _, ex := range examples {
		names = append(names, ex.name)
	}
	return build(t, names)
}

func build(t *testing.T, names []string) string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"build", "-o", dir}
	for _, name := range names {
		args = append(args, "./"+name)
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir
}

// start starts a program in a folder, waits until it serves and returns its
// address. The end of the test ends it.
func start(t *testing.T, program, dir string, env []string, closes bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())

	var out bytes.Buffer
	cmd := exec.Command(program)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), env...), "FLAMEGO_ADDR="+address)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { stop(t, cmd.Process, ended, closes, &out) })

	for range 600 {
		select {
		case err := <-ended:
			ended <- err
			require.FailNow(t, "the program ended", "%v\n%s", err, out.String())
		case <-time.After(50 * time.Millisecond):
		}
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return "http://" + address
		}
	}
	require.FailNow(t, "the program does not serve")
	return ""
}

// stop interrupts a program and waits for its end.
func stop(t *testing.T, p *os.Process, ended <-chan error, closes bool, out *bytes.Buffer) {
	_ = p.Signal(os.Interrupt)
	select {
	case err := <-ended:
		if closes {
			assert.NoError(t, err, "the end after an interrupt: %s", out)
			assert.Contains(t, out.String(), "Server stopped")
		}
	case <-time.After(20 * time.Second):
		_ = p.Kill()
		<-ended
		assert.Fail(t, "an interrupt did not end the program", "%s", out)
	}
}

// leftBehind returns the file, or the first file in the folder, of that name.
func leftBehind(t *testing.T, home, name string) string {
	path := filepath.Join(home, name)
	found, err := filepath.Glob(filepath.Join(path, "[0-9a-z]", "[0-9a-z]", "*"))
	require.NoError(t, err)
	return append(found, path)[0]
}

// visitor is a browser that follows redirects.
type visitor struct {
	*testing.T
	*webapp.Browser
}

func newVisitor(t *testing.T, address string) visitor {
	return visitor{t, webapp.Connect(t, address)}
}

func (v visitor) get(path string) string {
	v.Helper()
	w := v.Get(path)
	for w.Code == http.StatusFound {
		w = v.Get(w.Header().Get("Location"))
	}
	require.Equal(v, http.StatusOK, w.Code, "%s: %s", path, w.Body)
	return w.Body.String()
}

// The defaults of the examples are those of the servers that "make servers"
// starts.
func TestDefaults(t *testing.T) {
	want := map[string]string{
		"PGHOST":           testserver.FixedHost,
		"PGPORT":           testserver.PostgresPort,
		"PGUSER":           testserver.PostgresUser,
		"PGPASSWORD":       testserver.PostgresPassword,
		"PGDATABASE":       testserver.PostgresDatabase,
		"PGSSLMODE":        "disable",
		"MYSQL_HOST":       testserver.FixedHost,
		"MYSQL_PORT":       testserver.MySQLPort,
		"MYSQL_USER":       testserver.MySQLUser,
		"MYSQL_PASSWORD":   testserver.MySQLPassword,
		"MYSQL_DATABASE":   testserver.MySQLDatabase,
		"REDIS_HOST":       testserver.FixedHost,
		"REDIS_PORT":       testserver.RedisPort,
		"REDIS_PASSWORD":   "",
		"MONGODB_URI":      "mongodb://" + net.JoinHostPort(testserver.FixedHost, testserver.MongoPort),
		"MONGODB_DATABASE": "session",
	}

	got := make(map[string]string)
	call := regexp.MustCompile(`app\.Env\("(\w+)", "([^"]*)"\)`)
	for _, ex := range examples {
		text, err := os.ReadFile(filepath.Join(ex.name, "main.go"))
		require.NoError(t, err)
		for _, match := range call.FindAllStringSubmatch(string(text), -1) {
			got[match[1]] = match[2]
		}
	}
	assert.Equal(t, want, got)
}
