//go:build !unix

package atomicfile

import "os"

// openPlain opens a file for reading, but not through a symbolic link.
func openPlain(name string) (*os.File, error) {
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return nil, ErrNotPlain
	}
	return os.Open(name)
}
