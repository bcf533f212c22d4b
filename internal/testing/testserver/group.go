package testserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	loopback = "127.0.0.1"
	// startLimit is far more than the two seconds of the slowest server, as the
	// machine may be busy with the tests of other packages.
	startLimit = 90 * time.Second
	// stopLimit is for the supervisor, which has endLimit for the server.
	stopLimit = endLimit + 5*time.Second
)

// group is a set of servers that end together, at most one of each kind. The
// zero value is empty and ready.
type group struct {
	mu    sync.Mutex
	slots map[*kind]*slot
}

// slot is the one start of a kind; the outcome is kept, good or bad.
type slot struct {
	once   sync.Once
	server *server
	access access
	err    error
}

// address returns the address of the group's private server of the kind, which
// the first call starts.
func (g *group) address(k *kind) (string, error) {
	a := k.private
	a.host = loopback
	return g.start(k, a)
}

// start is address for the given access. An empty port means a free one.
func (g *group) start(k *kind, a access) (string, error) {
	g.mu.Lock()
	if g.slots == nil {
		g.slots = make(map[*kind]*slot)
	}
	s := g.slots[k]
	if s == nil {
		s = new(slot)
		g.slots[k] = s
	}
	g.mu.Unlock()

	s.once.Do(func() { s.server, s.access, s.err = launch(k, a) })
	if s.err != nil {
		return "", s.err
	}
	return k.url(s.access), nil
}

// stop ends all servers of the group and removes their folders. It returns an
// error for each that had ended before, with the end of its log.
func (g *group) stop() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var wg sync.WaitGroup
	errs := make(chan error, len(g.slots))
	for k, s := range g.slots {
		s.once.Do(func() {}) // waits for a start that is under way
		if s.server != nil {
			wg.Go(func() {
				if err := s.server.stop(); err != nil {
					errs <- fmt.Errorf("testserver: %s: %w", k.name, err)
				}
			})
		}
	}
	wg.Wait()
	close(errs)
	g.slots = nil
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// launch starts a server and waits until it serves.
func launch(k *kind, a access) (*server, access, error) {
	programs, err := k.programs()
	if err != nil {
		return nil, a, err
	}
	fixed := a.port != ""
	for try := 1; ; try++ {
		if !fixed {
			if a.port, err = FreePort(); err != nil {
				return nil, a, fmt.Errorf("testserver: find a port for %s: %w", k.name, err)
			}
		}
		s, err := startServer(k, programs, a)
		if err == nil {
			return s, a, nil
		}
		if fixed || try == 5 || !strings.Contains(strings.ToLower(err.Error()), "address already in use") {
			return nil, a, fmt.Errorf("testserver: %s does not start: %w", k.name, err)
		}
	}
}

// server is a running server, seen from the process that asked for it.
type server struct {
	plan  plan
	pipe  io.WriteCloser // for orders; closing it tells the supervisor to end the server
	super *exec.Cmd      // the supervisor
	gone  chan struct{}  // closed when the supervisor has ended
}

// startServer starts a supervisor with the kind's plan and waits until the
// server behind it serves.
func startServer(k *kind, programs string, a access) (*server, error) {
	dir, err := os.MkdirTemp(tempParent(), "testserver-")
	if err != nil {
		return nil, err
	}
	p := k.plan(programs, dir, a)
	p.Dir = dir
	s, err := startSupervisor(p)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.wait(k.probe); err != nil {
		log, _ := os.ReadFile(p.log())
		_ = s.stop()
		return nil, fmt.Errorf("%w\n%s", err, tail(log))
	}
	return s, nil
}

// tempParent is where temporary folders go: the usual place, unless that makes
// the names of Unix sockets longer than the hundred bytes that systems allow.
func tempParent() string {
	if len(os.TempDir()) > 60 {
		return "/tmp"
	}
	return ""
}

// startSupervisor starts this executable again in the role of a supervisor.
func startSupervisor(p plan) (*server, error) {
	message, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	cmd, err := reexec(roleSupervisor)
	if err != nil {
		return nil, err
	}
	// Its own output is what goes wrong with the commands. Standard output stays
	// closed: go test waits for everyone who holds it.
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	cmd.Dir = p.Dir
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{plan: p, pipe: pipe, super: cmd, gone: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // the log says more
		close(s.gone)
	}()
	if _, err := pipe.Write(message); err != nil {
		_ = s.stop()
		return nil, err
	}
	return s, nil
}

// wait probes the server until it serves, or has ended, or time is up.
func (s *server) wait(probe func(net.Conn) error) error {
	limit := time.After(startLimit)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := dial(s.plan.Socket, probe)
		if err == nil {
			return nil
		}
		select {
		case <-s.gone:
			return errors.New("it ended")
		case <-limit:
			return fmt.Errorf("not ready after %v: %w", startLimit, err)
		case <-time.After(pause):
		}
	}
}

func dial(socket string, probe func(net.Conn) error) error {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	return probe(c)
}

// stop ends the server, waits for that, and removes its folder. The error is
// that it had ended before.
func (s *server) stop() error {
	var err error
	select {
	case <-s.gone:
		log, _ := os.ReadFile(s.plan.log())
		err = fmt.Errorf("it ended while it was in use\n%s", tail(log))
	default:
	}
	_ = s.pipe.Close()
	select {
	case <-s.gone:
	case <-time.After(stopLimit):
		// The server goes with it where there is a parent death signal.
		_ = s.super.Process.Kill()
		<-s.gone
	}
	return errors.Join(err, removeAll(s.plan.Dir))
}

// removeAll removes a folder in which a dying process may still create files.
func removeAll(dir string) error {
	for try := 0; ; try++ {
		err := os.RemoveAll(dir)
		if err == nil || try == 10 {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// tail returns the last lines of a log, indented.
func tail(log []byte) string {
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	lines = lines[max(0, len(lines)-20):]
	return "\t" + string(bytes.Join(lines, []byte("\n\t")))
}
