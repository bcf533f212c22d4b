package bench

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ownCPU is the time that the processors have spent on this process.
func ownCPU(tb testing.TB) time.Duration {
	tb.Helper()
	var usage syscall.Rusage
	check(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// threadsCPU is the time that the processors have spent on each thread. The sum of a
// process, in /proc/PID/stat, is one of hundredths of a second: too coarse for requests that
// many processes share.
type threadsCPU map[string]time.Duration

// serversCPU returns that of all servers that this process has started. Of a server
// that was there before (PGHOST and so on) it knows nothing.
func serversCPU(tb testing.TB) threadsCPU {
	tb.Helper()
	children := make(map[int][]int)
	for _, path := range must[[]string](tb)(filepath.Glob("/proc/[0-9]*/stat")) {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		pid, parent, err := parseStat(string(text))
		check(tb, err)
		children[parent] = append(children[parent], pid)
	}
	threads := make(threadsCPU)
	for below := children[os.Getpid()]; len(below) > 0; below = below[1:] {
		below = append(below, children[below[0]]...)
		for _, path := range must[[]string](tb)(filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", below[0]))) {
			text, err := os.ReadFile(path)
			if err != nil {
				continue
			}
			onCPU, _, _ := strings.Cut(string(text), " ")
			ns := must[int64](tb)(strconv.ParseInt(onCPU, 10, 64))
			threads[path] = time.Duration(ns)
		}
	}
	return threads
}

// parseStat reads /proc/PID/stat. The name of the program may hold anything.
func parseStat(text string) (pid, parent int, err error) {
	open, end := strings.Index(text, "("), strings.LastIndex(text, ")")
	if open < 0 || end < open {
		return 0, 0, fmt.Errorf("%q is no status", text)
	}
	if _, err := fmt.Sscan(text[:open], &pid); err != nil {
		return 0, 0, err
	}
	var state string
	_, err = fmt.Sscan(text[end+1:], &state, &parent)
	return pid, parent, err
}

// since is what has been spent since before by the threads that there are now. The pools
// keep their connections, so none of the servers ends its threads meanwhile.
func (now threadsCPU) since(before threadsCPU) time.Duration {
	var sum time.Duration
	for path, spent := range now {
		sum += spent - before[path]
	}
	return sum
}

// The time of a child of a child counts, and a program may have a strange name.
func TestServersCPU(t *testing.T) {
	shell := filepath.Join(t.TempDir(), "a ) R 1 (")
	check(t, os.Symlink("/bin/sh", shell))
	before := serversCPU(t)
	cmd := exec.Command(shell, "-c", `"$0" -c 'n=0; while [ $n -lt 300000 ]; do n=$((n+1)); done; echo done; read end'; true`, shell)
	stdin, stdout := must[io.WriteCloser](t)(cmd.StdinPipe()), must[io.ReadCloser](t)(cmd.StdoutPipe())
	check(t, cmd.Start())
	must[int](t)(stdout.Read(make([]byte, 10))) // "done"
	spent := serversCPU(t).since(before)
	check(t, stdin.Close())
	check(t, cmd.Wait())
	if spent < 10*time.Millisecond {
		t.Errorf("a loop of 300,000 turns took %v of the processors", spent)
	}
}

func TestOwnCPU(t *testing.T) {
	before := ownCPU(t)
	for own := ownCPU(t) - before; own < 20*time.Millisecond; own = ownCPU(t) - before {
		if own < 0 {
			t.Fatal("the time goes back")
		}
	}
}
