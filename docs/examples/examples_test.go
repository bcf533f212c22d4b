// Package examples tests the programs in the folders below.
package examples

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/internal/testing/webapp"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// example is a program and what is special about it.
type example struct {
	name     string
	variable string                               // names its server
	env      func(t *testing.T) []string          // sets that, to a server of the tests
	leaves   string                               // a file or folder that it makes where it runs
	forgets  bool                                 // its sessions end with it
	walk     func(t *testing.T, v, other visitor) // its addresses, if it shows no store
}

var examples = []example{
	{name: "memory", forgets: true},
	{name: "file", leaves: "sessions"},
	{name: "postgres", variable: testserver.PostgresVariable, env: postgresEnv},
	{name: "mysql", variable: testserver.MySQLVariable, env: mysqlEnv},
	{name: "redis", variable: testserver.RedisVariable, env: redisEnv},
	{name: "mongo", variable: testserver.MongoVariable, env: mongoEnv},
	{name: "sqlite", leaves: "app.db"},
	{name: "flash", walk: walkFlash},
	{name: "flash-struct", walk: walkFlashStruct},
}

func TestExamples(t *testing.T) {
	var names []string
	for _, ex := range examples {
		names = append(names, ex.name)
	}
	dir := build(t, names)
	for _, ex := range examples {
		t.Run(ex.name, func(t *testing.T) {
			t.Parallel()
			ex.visit(t, filepath.Join(dir, ex.name))
		})
	}
}

// visit runs the program, and visits it as its page says.
func (ex example) visit(t *testing.T, program string) {
	var env []string
	if ex.env != nil {
		env = ex.env(t)
	}
	home := t.TempDir()
	address, stop := launch(t, program, home, env, false)
	v, other := newVisitor(t, address), newVisitor(t, address)
	if ex.walk != nil {
		ex.walk(t, v, other)
		return
	}
	w := v.Get("/")
	assert.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	assert.Contains(t, w.Body.String(), `href="/set"`)
	assert.Equal(t, "Not authenticated", v.get("/get"))
	assert.Equal(t, "Succeed", v.get("/set"))
	assert.Equal(t, "Authenticated as 123", v.get("/get"))
	assert.Equal(t, "Not authenticated", other.get("/get"), "another visitor")
	if ex.leaves != "" {
		assert.FileExists(t, leftBehind(t, home, ex.leaves))
	}

	// Ctrl-C, and again: the program does not close the store.
	stop()
	address, _ = launch(t, program, home, env, false)
	again := newVisitor(t, address)
	again.Cookie = v.Cookie
	if ex.forgets {
		assert.Equal(t, "Not authenticated", again.get("/get"), "after a restart")
		again.get("/set")
	}
	assert.Equal(t, "Authenticated as 123", again.get("/get"))
	assert.Equal(t, "Cleared", again.get("/clear"))
	assert.Equal(t, "Not authenticated", again.get("/get"))
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
	return []string{testserver.PostgresVariable + "=" + testserver.Postgres(t)}
}

func mysqlEnv(t *testing.T) []string {
	return []string{testserver.MySQLVariable + "=" + testserver.MySQL(t)}
}

func redisEnv(t *testing.T) []string {
	return []string{
		testserver.RedisVariable + "=" + testserver.Redis(t), "REDIS_PASSWORD=" + testserver.RedisPassword(),
	}
}

func mongoEnv(t *testing.T) []string {
	return []string{testserver.MongoVariable + "=" + testserver.Mongo(t)}
}

// build builds programs and returns the folder they are in.
func build(t *testing.T, names []string) string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"build", "-ldflags=-s -w", "-o", dir} // no symbols, which take half the time
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
	address, _ := launch(t, program, dir, env, closes)
	return address
}

// launch is start for a program that may be stopped before the end of the test.
func launch(t *testing.T, program, dir string, env []string, closes bool) (address string, end func()) {
	t.Helper()
	port, err := testserver.FreePort()
	require.NoError(t, err)
	address = net.JoinHostPort("127.0.0.1", port)

	var out bytes.Buffer
	cmd := exec.Command(program)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), env...), "FLAMEGO_ADDR="+address)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	end = sync.OnceFunc(func() { stop(t, cmd.Process, ended, closes, &out) })
	t.Cleanup(end)

	for range 600 {
		select {
		case err := <-ended:
			ended <- err
			require.FailNow(t, "the program ended", "%v\n%s", err, out.String())
		case <-time.After(50 * time.Millisecond):
		}
		// Not by a dial alone: one to a port that nobody listens at yet may meet itself.
		if resp, err := http.Head("http://" + address + "/favicon.ico"); err == nil {
			_ = resp.Body.Close()
			return "http://" + address, end
		}
	}
	require.FailNow(t, "the program does not serve")
	return "", nil
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

// A program reads the address of its server from one variable, and by default it is the
// usual one on this machine.
func TestDefaults(t *testing.T) {
	want := map[string]string{
		"postgres": "127.0.0.1:5432", "mysql": "127.0.0.1:3306", "redis": "127.0.0.1:6379", "mongo": "127.0.0.1:27017",
	}
	call := regexp.MustCompile(`cmp\.Or\(os\.Getenv\("(\w+)"\), "([^"]*)"\)`)
	for _, ex := range examples {
		text, err := os.ReadFile(filepath.Join(ex.name, "main.go"))
		require.NoError(t, err)
		matches := call.FindAllStringSubmatch(string(text), -1)
		if ex.variable == "" {
			assert.Empty(t, matches, ex.name)
			continue
		}
		require.Len(t, matches, 1, ex.name)
		assert.Equal(t, ex.variable, matches[0][1])
		assert.Equal(t, want[ex.name], hostPort(t, ex.name, matches[0][2]))
	}
}

// hostPort returns where a driver looks for the server of an address.
func hostPort(t *testing.T, driver, address string) string {
	switch driver {
	case "postgres":
		c, err := pgx.ParseConfig(address)
		require.NoError(t, err)
		return fmt.Sprintf("%s:%d", c.Host, c.Port)
	case "mysql":
		c, err := mysqldriver.ParseDSN(address)
		require.NoError(t, err)
		return c.Addr
	case "mongo":
		c := options.Client().ApplyURI(address)
		require.NoError(t, c.Validate())
		return strings.Join(c.Hosts, ",")
	default:
		return address
	}
}
