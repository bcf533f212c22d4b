//go:build unix

package child

import "syscall"

// Pause stops the process, with all that it holds, until Resume.
func (p *Process) Pause() { _ = p.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a process go on that was stopped by Pause.
func (p *Process) Resume() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }
