package testserver

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
)

// errMissing is wrapped by the errors that say how to install a program: these
// skip a test, all others fail it.
var errMissing = errors.New("not installed")

// access is where a server listens and who may log in.
type access struct {
	host                     string
	port                     string
	user, password, database string
}

func (a access) hostPort() string { return net.JoinHostPort(a.host, a.port) }

// kind is what differs between the servers. Everything that they do alike
// is written once, in group and supervise.
type kind struct {
	name     string // as people know it
	pkg      string // Debian package with its programs; "" for none
	override string // variable that names a server to use instead; "" for none

	// private has the user, password and database of the servers of tests, fixed
	// those of [Start] and its port, which is empty where Start does not start it.
	private, fixed access

	// url formats the address for the driver.
	url func(access) string
	// fromEnv formats the address that the environment gives.
	fromEnv func() string
	// variables are the NAME=value that make fromEnv return this access.
	variables func(access) []string
	// variable is the one by which an example takes what url returns.
	variable string

	// find returns the folder or file of the programs, or an error that wraps
	// errMissing.
	find func() (string, error)
	// plan says how to run the server in a folder, given what find returned.
	plan func(programs, dir string, a access) plan
	// probe returns nil when the server at the other end serves. The connection
	// goes to a Unix socket in the server's folder: on the TCP port a stranger
	// might answer, who took it after it was found free. All servers open their
	// TCP port first and give up when they cannot.
	probe func(net.Conn) error
}

// kinds are all servers, in the order they are listed to people.
var kinds = []*kind{postgres, mysql, redis, mongo, nginx, pgbouncer}

// byHand are the servers that are of use for work by hand.
func byHand() []*kind {
	return slices.DeleteFunc(slices.Clone(kinds), func(k *kind) bool { return k.fixed.port == "" })
}

// plan is how a server is run. It goes to the supervisor as JSON.
type plan struct {
	Dir    string            // for all state; removed in the end
	Users  []string          // who may run it in place of root; nil: root may
	Files  map[string]string // names in Dir and contents, for the setup
	Setup  [][]string        // commands to run first, to their end
	Server []string          // the command that serves
	Socket string            // Unix socket for the probe
	Signal int               // ends the server
}

// log is where the output of all commands goes.
func (p plan) log() string { return logPath(p.Dir) }

// logPath is the log of the server whose folder this is.
func logPath(dir string) string { return filepath.Join(dir, "log") }

// programs is find with an error that says what to install.
func (k *kind) programs() (string, error) {
	found, err := k.find()
	switch {
	case err == nil:
		return found, nil
	case k.pkg != "":
		return "", fmt.Errorf("testserver: %s is %w: apt-get install %s", k.name, err, k.pkg)
	default:
		return "", fmt.Errorf("testserver: %w", err)
	}
}

// lookPath finds a program in $PATH or in one of the folders (patterns), where
// distributions put servers that only root is expected to start. Of several
// matches the last one wins, which is the newest version.
func lookPath(program string, folders ...string) (string, bool) {
	if !supported {
		return "", false
	}
	if path, err := exec.LookPath(program); err == nil {
		if path, err = filepath.Abs(path); err == nil {
			return path, true
		}
	}
	for _, folder := range folders {
		found, _ := filepath.Glob(filepath.Join(folder, program))
		slices.SortFunc(found, func(a, b string) int {
			return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) // 9 before 10
		})
		for _, path := range slices.Backward(found) {
			if _, err := exec.LookPath(path); err == nil {
				return path, true
			}
		}
	}
	return "", false
}

// Missing returns the Debian packages of the servers whose programs are not
// installed, and that of Chromium.
func Missing() []string {
	var pkgs []string
	for _, k := range kinds {
		if k.pkg == "" {
			continue
		}
		if _, err := k.find(); err != nil {
			pkgs = append(pkgs, k.pkg)
		}
	}
	if _, err := FindChromium(); errors.Is(err, errMissing) && !chromiumIsSnap(osRelease) {
		pkgs = append(pkgs, "chromium")
	}
	return pkgs
}

// env returns a variable, or the default where it is not set.
func env(name, def string) string {
	return cmp.Or(os.Getenv(name), def)
}

// FreePort returns a port of the loopback interface that belongs to this process: no other call gets
// it, also while the server that listens there is down. It is none that Linux gives to a connection
// that goes out, of which there are many while tests run.
func FreePort() (port string, err error) {
	for range 100 {
		port = strconv.Itoa(20_000 + rand.IntN(12_000))
		if err = reserve(net.JoinHostPort(loopback, port)); err == nil {
			return port, nil
		}
	}
	return "", err
}

// reserved are the UDP ports of the same numbers. The kernel gives one to a single process, and takes
// it back however the process ends.
var reserved struct {
	mu    sync.Mutex
	conns []net.PacketConn // an open one that nothing refers to is closed
}

func reserve(addr string) error {
	conn, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		_ = conn.Close()
		return err
	}
	reserved.mu.Lock()
	defer reserved.mu.Unlock()
	reserved.conns = append(reserved.conns, conn)
	return l.Close()
}
