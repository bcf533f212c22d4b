//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package testserver

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// supported tells that servers can be started on this system.
const supported = true

// detached puts a child into a session of its own.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true}
}

// childOf puts a child into a process group of its own, so that a script ends
// together with what it started, and makes it run as the given user unless uid
// is negative.
func childOf(uid, gid int) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if uid >= 0 {
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	dieWithParent(attr)
	return attr
}

// signalGroup sends the signal to the process and to all of its group.
func signalGroup(p *os.Process, sig syscall.Signal) {
	_ = syscall.Kill(-p.Pid, sig)
}

// account returns the IDs of the first of the users that exists.
func account(names []string) (uid, gid int, err error) {
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err1 == nil && err2 == nil && uid > 0 {
			return uid, gid, nil
		}
	}
	return 0, 0, fmt.Errorf("the server does not run as root, and there is no user %v to run it", names)
}

// lockFile waits until no other process holds the lock on the file. The lock
// ends with the process that holds it; the file stays.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return func() { _ = f.Close() }, nil
}
