// Package child starts the binary of a test again, for what takes two processes, or
// one that may be killed. It knows nothing of sessions, so that tests of the packages
// below them can use it.
package child

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Process is a process that runs one test.
type Process struct {
	t   testing.TB
	cmd *exec.Cmd
	out strings.Builder
}

// Start runs the caller's test in another process. A variable that is added to its
// environment tells the test that it is there.
func Start(t testing.TB, env ...string) *Process {
	t.Helper()
	name, _, _ := strings.Cut(t.Name(), "/")
	p := &Process{t: t, cmd: exec.Command(os.Args[0], "-test.run=^"+name+"$")}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// Wait returns when the process has ended as it should.
func (p *Process) Wait() {
	p.t.Helper()
	if err := p.cmd.Wait(); err != nil {
		p.t.Fatal(err, p.out.String())
	}
}

// Kill kills the process at a random instant in the time after begun says so, which
// it does within some seconds. The process must not have ended by itself.
func (p *Process) Kill(begun func() bool, within time.Duration) {
	p.t.Helper()
	for start := time.Now(); !begun() && time.Since(start) < 10*time.Second; {
		time.Sleep(100 * time.Microsecond)
	}
	time.Sleep(rand.N(within))
	_ = p.cmd.Process.Kill()
	var exit *exec.ExitError
	if err := p.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		p.t.Fatalf("the process was not killed: %v %s", err, p.out.String())
	}
}
