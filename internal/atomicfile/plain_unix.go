//go:build unix

package atomicfile

import (
	"errors"
	"os"
	"syscall"
)

// openPlain opens a file for reading, but not through a symbolic link and not
// waiting for the other end of a pipe.
func openPlain(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EMLINK) {
		err = ErrNotPlain
	}
	return f, err
}
