// Package child starts the binary of a test again, for what takes two processes, or
// one that may be killed. It knows nothing of sessions, so that tests of the packages
// below them can use it.
package child

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a process that runs one test.
type Process struct {
	t   testing.TB
	cmd *exec.Cmd
	out strings.Builder

	// In is what the process reads from Parent, and Out what it writes there. Only that of
	// StartTalking has them.
	In  io.WriteCloser
	Out io.Reader
}

// Start runs the caller's test in another process. A variable that is added to its
// environment tells the test that it is there.
func Start(t testing.TB, env ...string) *Process {
	t.Helper()
	return start(t, env, whole(t))
}

// whole is the command that runs the whole test of a caller, who may be a part of it.
func whole(t testing.TB) *exec.Cmd {
	name, _, _ := strings.Cut(t.Name(), "/")
	return exec.Command(os.Args[0], "-test.run=^"+name+"$")
}

func start(t testing.TB, env []string, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{t: t, cmd: cmd}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// StartTalking is Start for a process that talks with its parent: there by Parent, here by In and
// Out. It does not work on Windows.
func StartTalking(t testing.TB, env ...string) *Process {
	t.Helper()
	childIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := whole(t)
	cmd.ExtraFiles = []*os.File{childIn, childOut}
	p := start(t, env, cmd)
	_, _ = childIn.Close(), childOut.Close()
	p.In, p.Out = in, out
	t.Cleanup(func() { _, _ = in.Close(), out.Close() })
	return p
}

// Parent returns what a process of StartTalking reads from its parent and writes to it. What it
// has written arrives even if the process is killed then.
func Parent() (in io.Reader, out io.Writer) {
	return os.NewFile(3, "from the parent"), os.NewFile(4, "to the parent")
}

// StartOnly runs the caller's test in another process, of a subtest nothing but that one, with
// the attributes. The process says what it does: see [Process.Output].
func StartOnly(t testing.TB, attr *syscall.SysProcAttr, env ...string) *Process {
	t.Helper()
	var pattern []string
	for name := range strings.SplitSeq(t.Name(), "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(name)+"$")
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.timeout=5m", "-test.run="+strings.Join(pattern, "/"))
	cmd.SysProcAttr = attr
	return start(t, env, cmd)
}

// Output returns what the process has printed. It must have ended.
func (p *Process) Output() string { return p.out.String() }

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
