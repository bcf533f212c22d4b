package testserver

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
)

var mongo = &kind{
	name:     "FerretDB",
	override: "MONGODB_URI",
	fixed:    access{host: loopback, port: "27071"},

	url:     func(a access) string { return "mongodb://" + a.hostPort() + "/" },
	fromEnv: func() string { return os.Getenv("MONGODB_URI") },
	variables: func(a access) []string {
		return []string{"MONGODB_URI=mongodb://" + a.hostPort() + "/"}
	},
	variable: MongoVariable,

	find: BuildFerretDB,
	plan: func(program, dir string, a access) plan {
		socket := filepath.Join(dir, "s")
		return plan{
			Server: []string{program, "-listen", a.hostPort(), "-socket", socket, "-dir", dir},
			Socket: socket,
			Signal: int(syscall.SIGKILL),
		}
	},
	probe: probeMongo,
}

// probeMongo sends the command ping as an OP_MSG and wants its answer to be ok.
func probeMongo(c net.Conn) error {
	const opMsg = 2013
	doc := "\x10ping\x00\x01\x00\x00\x00" + "\x02$db\x00\x06\x00\x00\x00admin\x00" + "\x00"
	le := binary.LittleEndian
	body := append(make([]byte, 4), 0)                 // flags, section of kind 0
	body = le.AppendUint32(body, uint32(4+len(doc)))   // the document's length
	body = append(body, doc...)                        //
	msg := le.AppendUint32(nil, uint32(16+len(body)))  // the message's length
	msg = append(le.AppendUint32(msg, 1), 0, 0, 0, 0)  // its number, in answer to none
	msg = append(le.AppendUint32(msg, opMsg), body...) //
	if _, err := c.Write(msg); err != nil {
		return err
	}
	answer := make([]byte, 512) // more than it takes, and it comes in one piece
	n, err := c.Read(answer)
	if err != nil {
		return err
	}
	if ok := "\x01ok\x00" + "\x00\x00\x00\x00\x00\x00\xf0\x3f"; !bytes.Contains(answer[:n], []byte(ok)) {
		return errors.New("ping is not answered by ok")
	}
	return nil
}

// ferretModule is the folder of the nested module below the root of ours.
const ferretModule = "internal/testing/testserver/ferretdb"

var ferretVersion = regexp.MustCompile(`github\.com/FerretDB/FerretDB (v[0-9.]+)`)

// BuildFerretDB returns the path of the FerretDB program. On the first use on a
// machine, and after a change of its sources or of Go, it builds it, which takes
// up to a minute and needs its modules from the network or the module cache. The
// result is kept in the user's cache folder, so `go clean -cache` does not
// remove it. Processes that ask at the same time build it once.
func BuildFerretDB() (string, error) {
	path, err := buildFerretDB()
	if err != nil {
		return "", fmt.Errorf("FerretDB is %w: it cannot be built in %s: %w",
			errMissing, ferretModule, err)
	}
	return path, nil
}

func buildFerretDB() (string, error) {
	if !supported {
		return "", errors.New("servers are only started on Unix")
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	source := filepath.Join(root, filepath.FromSlash(ferretModule))
	path, err := ferretPath(source)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}

	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	unlock, err := lockFile(path + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil { // built while we waited
		return path, nil
	}

	// Built under another name, so that the final one never is half a program. A
	// leftover of a build that was cut short is overwritten.
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w",
		"-tags=ferretdb_no_postgresql", "-o", path+".tmp", ".")
	cmd.Dir = source
	// What the caller's build is told (-modfile, a workspace, another target) is
	// not for this one; without cgo it needs no C compiler.
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0", "GOOS=", "GOARCH=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, tail(out))
	}
	return path, os.Rename(path+".tmp", path)
}

// ferretPath names the program after its version and everything it is made from.
func ferretPath(source string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	version := "unknown"
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		data, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintln(hash, name, len(data))
		hash.Write(data)
		if m := ferretVersion.FindSubmatch(data); m != nil && name == "go.mod" {
			version = string(m[1])
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "flamego-session", fmt.Sprintf("ferretdb-%s-%.6x", version, hash.Sum(nil))), nil
}

// moduleRoot is the nearest folder, from the working directory upwards, that
// has the FerretDB module in it. Tests run in the folder of their package.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(ferretModule), "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no folder above the working directory has %s", ferretModule)
		}
		dir = up
	}
}
