package testserver

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The variables by which the programs in docs/examples are told their server.
const (
	PostgresVariable = "POSTGRES_DSN"
	MySQLVariable    = "MYSQL_DSN"
	RedisVariable    = "REDIS_ADDR"
	MongoVariable    = "MONGODB_URI"
)

// The servers for work by hand are a group like that of a test process. Its
// process, the keeper, stays in the background and listens on a Unix socket in a
// temporary folder, and a file below the root of the module names that socket.
// Servers are never found by a process ID, which may be another program's by
// then, and when the keeper is killed they end as those of a test do.
const (
	keeperFile = ".servers"
	askStop    = "stop"
	askState   = "state"
)

// Start starts the servers for work by hand, and prints commands for a shell: they set
// the variables that make the examples and the tests use these servers. That the servers
// already run is no error.
func Start(out io.Writer) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	if _, err := ask(root, askState); err == nil {
		fmt.Fprintln(out, "# The servers already run.")
		printServers(out)
		return nil
	}
	cmd, err := reexec(roleKeeper)
	if err != nil {
		return err
	}
	cmd.Dir = root
	// Standard error is closed to it: "make servers 2>&1 | cat" would wait.
	answer, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var failure string
	if err := json.NewDecoder(answer).Decode(&failure); err != nil {
		return errors.Join(fmt.Errorf("testserver: the keeper of the servers ended: %w", err), cmd.Wait())
	}
	if failure != "" {
		_ = cmd.Wait() // it has ended what it started
		return errors.New(failure)
	}
	printServers(out)
	return cmd.Process.Release()
}

// Stop ends the servers that Start started from the same checkout and waits for
// that. That none run is no error.
func Stop(out io.Writer) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	answer, err := ask(root, askStop)
	switch {
	case err != nil:
		fmt.Fprintln(out, "No servers run.")
	case answer != "":
		return errors.New(answer)
	default:
		fmt.Fprintln(out, "The servers have ended.")
	}
	// The file of a keeper that was killed is still there.
	if err := os.Remove(filepath.Join(root, keeperFile)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func printServers(out io.Writer) {
	fmt.Fprintln(out, "# For the programs in docs/examples:")
	for _, k := range byHand() {
		fmt.Fprintf(out, "export %s='%s'\n", k.variable, k.url(k.fixed))
	}
	fmt.Fprintln(out, "\n# For tests that shall use these servers, not servers of their own:")
	for _, k := range byHand() {
		fmt.Fprintln(out, "export", strings.Join(k.variables(k.fixed), " "))
	}
}

// ask sends the keeper a word and returns its answer, or an error when there is
// no keeper.
func ask(root, word string) (string, error) {
	socket, err := os.ReadFile(filepath.Join(root, keeperFile))
	if err != nil {
		return "", err
	}
	var answer []byte
	err = dial(string(socket), func(c net.Conn) error {
		_ = c.SetDeadline(time.Now().Add(2 * stopLimit))
		if _, err := fmt.Fprintln(c, word); err != nil {
			return err
		}
		answer, err = io.ReadAll(c)
		return err
	})
	return string(answer), err
}

// keep is the keeper. It writes one JSON string when all servers serve (empty)
// or why they do not, and runs until it is asked to stop.
func keep(out io.Writer) error {
	g := new(group)
	l, err := startFixed(g)
	failure := ""
	if err != nil {
		failure = errors.Join(err, g.stop()).Error()
	}
	if err := json.NewEncoder(out).Encode(failure); err != nil || failure != "" {
		return err // nobody listens, and the supervisors end with this process
	}
	defer os.RemoveAll(filepath.Dir(l.Addr().String()))

	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-end
		_ = l.Close()
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			return g.stop() // by signal
		}
		_ = c.SetDeadline(time.Now().Add(2 * stopLimit))
		word, _ := bufio.NewReader(c).ReadString('\n')
		if strings.TrimSpace(word) != askStop {
			_ = c.Close()
			continue
		}
		if err := g.stop(); err != nil {
			_, _ = io.WriteString(c, err.Error())
		}
		return c.Close()
	}
}

// startFixed starts all servers on their fixed ports and opens the keeper's
// socket.
func startFixed(g *group) (net.Listener, error) {
	// All ports first: to find the last one taken after three starts is late, and
	// the message is clearer than those of four servers.
	for _, k := range byHand() {
		l, err := net.Listen("tcp", k.fixed.hostPort())
		if err != nil {
			return nil, fmt.Errorf("testserver: the port of %s, %s, is taken, maybe by servers that were started from another folder: %w",
				k.name, k.fixed.hostPort(), err)
		}
		_ = l.Close()
	}
	for _, k := range byHand() {
		if _, err := g.start(k, k.fixed); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp(tempParent(), "testserver-")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", filepath.Join(dir, "keeper"))
	if err == nil {
		err = os.WriteFile(keeperFile, []byte(l.Addr().String()), 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return l, nil
}
