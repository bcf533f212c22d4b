//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package testserver

import (
	"errors"
	"os"
	"syscall"
)

// supported is false: no program is found, so nothing below is ever reached.
const supported = false

func detached() *syscall.SysProcAttr                   { return nil }
func childOf(uid, gid int) *syscall.SysProcAttr        { return nil }
func signalGroup(p *os.Process, sig syscall.Signal)    { _ = p.Kill() }
func account(names []string) (uid, gid int, err error) { return 0, 0, errors.ErrUnsupported }
func lockFile(path string) (unlock func(), err error)  { return nil, errors.ErrUnsupported }
