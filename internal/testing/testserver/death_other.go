//go:build !linux

package testserver

import "syscall"

// dieWithParent does nothing here: only the end of the supervisor itself, which
// nothing but a SIGKILL of its own brings about, leaves a server behind.
func dieWithParent(*syscall.SysProcAttr) {}
