package testserver

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// helperVariable makes TestHelper, in a process of its own, end in the way that
// it names.
const helperVariable = "TESTSERVER_HELPER"

// TestHelper is the test process whose end the next test looks at.
func TestHelper(t *testing.T) {
	how := os.Getenv(helperVariable)
	if how == "" {
		t.Skip("for TestProcessEnds")
	}
	if how == "kill early" {
		fmt.Println("started")
	}
	var wg sync.WaitGroup
	for _, get := range []func(testing.TB) string{Postgres, MySQL, Redis, Mongo, Nginx} {
		wg.Go(func() { get(t) })
	}
	if how == "kill durable" {
		for _, get := range durables {
			wg.Go(func() {
				d := get(t)
				d.Kill(t)
				if d.k == redis || d.k == postgres {
					d.Start(t) // and the others stay down
				}
			})
		}
	}
	wg.Wait()
	fmt.Println("started")
	switch how {
	case "pass":
	case "fail":
		t.Fatal("as told")
	case "panic":
		panic("as told")
	default:
		select {}
	}
}

// However a test process ends, its servers end and their folders go, without
// help from anybody.
func TestProcessEnds(t *testing.T) {
	for _, k := range kinds {
		need(t, k)
	}
	t.Parallel()
	for _, tt := range []struct {
		how  string
		sig  syscall.Signal // sent when the servers serve
		wait bool           // whether everything is gone when the process is
	}{
		{how: "pass", wait: true},
		{how: "fail", wait: true},
		{how: "panic"},
		{how: "kill", sig: syscall.SIGKILL},
		{how: "kill early", sig: syscall.SIGKILL},
		{how: "kill durable", sig: syscall.SIGKILL},
		{how: "terminate", sig: syscall.SIGTERM},
	} {
		t.Run(tt.how, func(t *testing.T) {
			t.Parallel()
			// Not t.TempDir, which other users cannot enter.
			temp, err := os.MkdirTemp("", "ends-")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(temp)
			if err := os.Chmod(temp, 0o755); err != nil {
				t.Fatal(err)
			}
			path, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(path, "-test.run=^TestHelper$", "-test.timeout=2m")
			cmd.Env = append(os.Environ(), helperVariable+"="+tt.how, "TMPDIR="+temp, "GORACE=atexit_sleep_ms=0")
			for _, k := range byHand() {
				cmd.Env = append(cmd.Env, k.override+"=")
			}
			var errOut bytes.Buffer
			cmd.Stderr = &errOut
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, _ := bufio.NewReader(out).ReadString('\n')
			if line != "started\n" {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				t.Fatalf("helper says %q\n%s", line, errOut.String())
			}
			if tt.sig != 0 {
				if tt.how == "kill early" {
					// The servers are being set up. Before their supervisors know what they are to
					// end, which takes some time on a busy machine, nobody would.
					time.Sleep(time.Second)
				}
				_ = cmd.Process.Signal(tt.sig)
			}
			_ = cmd.Wait()

			var files []os.DirEntry
			var left []string
			for limit := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				files, _ = os.ReadDir(temp)
				left = processes(t, temp)
				if len(files)+len(left) == 0 || tt.wait || time.Now().After(limit) {
					break
				}
			}
			if len(files)+len(left) > 0 {
				t.Errorf("left behind: files %v, processes %q\n%s", files, left, errOut.String())
			}
		})
	}
}

// The supervisor's own violent end takes the server along, on Linux. The folder
// stays until the process that asked for it stops.
func TestSupervisorKilled(t *testing.T) {
	t.Parallel()
	need(t, redis)
	g := new(group)
	if _, err := g.address(redis); err != nil {
		t.Fatal(err)
	}
	s := g.slots[redis]
	_ = s.server.super.Process.Kill()
	<-s.server.gone
	for limit := time.Now().Add(10 * time.Second); dialTCP(s.access, redis.probe) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("the server still serves")
		}
	}
	if err := g.stop(); err == nil || !strings.Contains(err.Error(), "it ended while it was in use") {
		t.Errorf("stop: %v", err)
	}
	if _, err := os.Stat(s.server.plan.Dir); err == nil {
		t.Error("the folder is still there")
	}
}

// portsVariable moves the fixed ports of a process to others, so that the test
// of the servers for work by hand leaves those alone that somebody uses.
const portsVariable = "TESTSERVER_PORTS"

func movePorts() {
	for i, port := range strings.Fields(os.Getenv(portsVariable)) {
		byHand()[i].fixed.port = port
	}
}

// Servers for work by hand start once, say so the second time, outlive the
// process that started them, and end on request.
func TestByHand(t *testing.T) {
	for _, k := range byHand() {
		need(t, k)
	}
	t.Chdir(otherRoot(t))
	var ports []string
	for _, k := range byHand() {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
		old := k.fixed.port
		k.fixed.port = port
		t.Cleanup(func() { k.fixed.port = old })
	}
	t.Setenv(portsVariable, strings.Join(ports, " "))

	var out bytes.Buffer
	call := func(name string, f func() error, want string) {
		t.Helper()
		out.Reset()
		if err := f(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s prints %q, want %q in it", name, out.String(), want)
		}
	}
	start := func() error { return Start(&out) }
	stop := func() error { return Stop(&out) }
	t.Cleanup(func() { _ = stop() })

	call("first stop", stop, "No servers run.")
	call("first start", start, "export REDIS_ADDR='127.0.0.1:"+ports[2]+"'")
	call("second start", start, "already run")
	for _, k := range byHand() {
		if err := dialTCP(k.fixed, k.probe); err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
	}
	call("stop", stop, "have ended")
	for _, k := range byHand() {
		if err := dialTCP(k.fixed, k.probe); err == nil {
			t.Errorf("%s still serves", k.name)
		}
	}
	if _, err := os.Stat(keeperFile); err == nil {
		t.Errorf("%s is still there", keeperFile)
	}
	call("second stop", stop, "No servers run.")

	t.Setenv(portsVariable, strings.Join(ports[:3], " ")+" "+takenPort(t))
	if err := start(); err == nil || !strings.Contains(err.Error(), "the port of FerretDB") {
		t.Errorf("start with a taken port: %v", err)
	}
}

func takenPort(t *testing.T) string {
	t.Helper()
	need(t, redis)
	g := new(group)
	t.Cleanup(func() { _ = g.stop() })
	if _, err := g.address(redis); err != nil {
		t.Fatal(err)
	}
	return g.slots[redis].access.port
}

// otherRoot returns a folder with a copy of the FerretDB module in its place.
func otherRoot(t *testing.T) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	copied := t.TempDir()
	to := filepath.Join(copied, filepath.FromSlash(ferretModule))
	if err := os.CopyFS(to, os.DirFS(filepath.Join(root, filepath.FromSlash(ferretModule)))); err != nil {
		t.Fatal(err)
	}
	return copied
}

// Several processes that need FerretDB at once build it once, a change of its
// module builds it anew, and a module that cannot be had is something missing.
func TestBuildFerretDB(t *testing.T) {
	need(t, mongo)
	goCache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(otherRoot(t))
	t.Setenv("GOCACHE", strings.TrimSpace(string(goCache)))
	t.Setenv("GOPROXY", "off")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("GOFLAGS", "-modfile=other.mod") // of the caller, not ours

	var wg sync.WaitGroup
	paths := make([]string, 3)
	for i := range paths {
		wg.Go(func() {
			var err error
			if paths[i], err = BuildFerretDB(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	if paths[0] != paths[1] || paths[0] != paths[2] || !strings.Contains(paths[0], "ferretdb-v1.") {
		t.Errorf("programs are %q", paths)
	}
	if left, _ := filepath.Glob(paths[0] + ".tmp*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}

	mod := filepath.Join(filepath.FromSlash(ferretModule), "go.mod")
	data, err := os.ReadFile(mod)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(data, []byte("FerretDB v1.24.0"), []byte("FerretDB v1."+strconv.Itoa(1<<20)+".0"), 1)
	if err := os.WriteFile(mod, data, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CI", "")
	clearEnv(t)
	if f, _ := askAddress(new(group), mongo); !strings.Contains(f.skipped, "FerretDB is not installed: it cannot be built") {
		t.Errorf("skipped %q, failed %q", f.skipped, f.failed)
	}
}
