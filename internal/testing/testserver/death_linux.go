package testserver

import "syscall"

// dieWithParent ends a child when the thread that starts it ends.
func dieWithParent(attr *syscall.SysProcAttr) {
	attr.Pdeathsig = syscall.SIGKILL
}
