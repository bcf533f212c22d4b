// Package atomicfile replaces files so that a reader, or a process that starts
// after a crash of this one, finds either the old content or the new, whole.
//
// The new content goes into a temporary file of the same folder, which is then
// renamed. Nothing is synced: what survives the death of the process at any
// instant may still be lost with the power. A crash leaves a temporary file
// behind; [IsTemp] knows them by their names.
package atomicfile

import (
	"os"
	"path/filepath"
	"strings"
)

const tempPrefix = ".session-tmp-"

// Write makes data the content of the named file, with mode 0600. The folder
// must exist. The error is that of the file system.
func Write(name string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), tempPrefix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()

	_, err = f.Write(data)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// IsTemp reports whether the base name is that of a temporary file of Write.
func IsTemp(base string) bool {
	return strings.HasPrefix(base, tempPrefix)
}
