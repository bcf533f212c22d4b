package testserver

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// An executable that uses this package is started again, by itself, in other
// roles. This variable says which.
const (
	roleVariable   = "FLAMEGO_SESSION_TESTSERVER_ROLE"
	roleSupervisor = "supervisor" // of one server
	roleKeeper     = "keeper"     // of the servers for work by hand
)

// endLimit is how long a server may take to end before it is killed.
const endLimit = 10 * time.Second

// Reexec plays the role that this process was started for by this package, and
// then does not return; in a process of anybody else it does nothing. [Main]
// calls it. A program that is no test calls it first thing.
func Reexec() {
	role := os.Getenv(roleVariable)
	_ = os.Unsetenv(roleVariable) // not for our children
	var err error
	switch role {
	default:
		return
	case roleSupervisor:
		err = supervise(os.Stdin)
	case roleKeeper:
		err = keep(os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// reexec returns the command that starts this executable in a role, out of
// reach of the signals that a terminal sends.
func reexec(role string) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), roleVariable+"="+role,
		// A program built with -race sleeps for a second before it exits.
		"GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	cmd.SysProcAttr = detached()
	return cmd, nil
}

// supervise reads a plan, carries it out, and ends the server and removes its
// folder when the input ends or a signal says so. When a command fails, the
// folder stays for the log to be read by who sent the plan.
func supervise(in io.Reader) error {
	// The parent death signal of a child comes when the thread that started it
	// ends. This one is the main thread and stays.
	runtime.LockOSThread()
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)

	var p plan
	message := json.NewDecoder(in)
	if err := message.Decode(&p); err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	orders := make(chan string)
	go func() {
		lines := bufio.NewScanner(io.MultiReader(message.Buffered(), in))
		for lines.Scan() {
			if order := lines.Text(); order != "" {
				orders <- order
			}
		}
		end <- os.Interrupt
	}()

	attr, err := p.prepare()
	if err != nil {
		return err
	}
	for _, argv := range p.Setup {
		err := run(p.Dir, argv, attr, end, nil, syscall.SIGKILL)
		if errors.Is(err, errEnd) {
			return removeAll(p.Dir)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", argv[0], err)
		}
	}
	err = serveOn(p, attr, end, orders)
	if errors.Is(err, errEnd) {
		return removeAll(p.Dir)
	}
	return fmt.Errorf("%s: ended by itself: %w", p.Server[0], err)
}

// The orders that a supervisor takes in turn, each in a line after the plan.
const (
	orderKill  = "kill"  // the server, without a goodbye
	orderStart = "start" // the server again, in the same folder
)

// A server that is started again may find what is left of the killed one in the way for a
// moment: a process of PostgreSQL that still works has its shared memory.
const (
	restarts     = 50
	restartPause = 100 * time.Millisecond
)

// serveOn runs the server, and again after an order to kill it and one to start it.
func serveOn(p plan, attr *syscall.SysProcAttr, end <-chan os.Signal, orders <-chan string) error {
	tries := 0 // that are left to start again
	for {
		begun := time.Now()
		err := run(p.Dir, p.Server, attr, end, orders, syscall.Signal(p.Signal))
		switch {
		case errors.Is(err, errKilled):
			_ = os.Remove(p.Socket) // which is in the way of some
			select {
			case <-orders: // to start
				tries = restarts
			case <-end:
				return errEnd
			}
		case !errors.Is(err, errEnd) && tries > 0 && time.Since(begun) < time.Second:
			tries--
			time.Sleep(restartPause)
		default:
			return err
		}
	}
}

// prepare writes the plan's files and gives the folder to the user who is to
// run the commands. It returns the attributes that make a command run as that
// user.
func (p plan) prepare() (*syscall.SysProcAttr, error) {
	names := []string{p.Dir}
	for name, content := range p.Files {
		name = filepath.Join(p.Dir, name)
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	if os.Getuid() != 0 || p.Users == nil {
		return childOf(-1, -1), nil
	}
	uid, gid, err := account(p.Users)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := os.Chown(name, uid, gid); err != nil {
			return nil, err
		}
	}
	return childOf(uid, gid), nil
}

// What run returns when the command was told to end, and when it was killed.
var (
	errEnd    = errors.New("ended as told")
	errKilled = errors.New("killed as told")
)

// run runs a command to its end, or sends it the signal when end says so. The first order kills
// the command.
func run(dir string, argv []string, attr *syscall.SysProcAttr, end <-chan os.Signal, orders <-chan string, sig syscall.Signal) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir // initdb complains about a folder it cannot enter
	cmd.Env = serverEnv()
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		return err
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	select {
	case err := <-gone:
		return err
	case <-orders:
		signalGroup(cmd.Process, syscall.SIGKILL)
		<-gone
		return errKilled
	case <-end:
	}
	signalGroup(cmd.Process, sig)
	select {
	case <-gone:
	case <-time.After(endLimit):
		signalGroup(cmd.Process, syscall.SIGKILL)
		<-gone
	}
	return errEnd
}

// serverEnv is the environment without what would configure a server or its
// tools, and with messages in English, as one of them is looked for.
func serverEnv() []string {
	var vars []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "MYSQL") && !strings.HasPrefix(v, "MARIADB") {
			vars = append(vars, v)
		}
	}
	return append(vars, "LC_ALL=C")
}
