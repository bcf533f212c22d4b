package atomicfile

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// Take moves a regular file of another folder, or this one, to a new name in this folder, and makes
// data its content, as Replace does. A process that dies meanwhile leaves one of the two names: the
// new one perhaps with the old content. If there is an error the file is as it was.
func (d Dir) Take(name string, from Dir, old string, data []byte, at time.Time) error {
	if err := d.writeSpare(name, data, at, false); err != nil { // first, as there may be no room
		return err
	}
	err := from.RemoveSpare(old)
	if err == nil {
		err = failed("rename", unix.Renameat(from.fd, old, d.fd, name))
	}
	if err != nil {
		_ = d.RemoveSpare(name)
		return err
	}
	err = d.exchange(name)
	if errors.Is(err, errors.ErrUnsupported) {
		err = d.rename(name)
	}
	if err != nil {
		_ = unix.Renameat(d.fd, name, from.fd, old)
	}
	_ = d.RemoveSpare(name) // or else the next Replace does, or GC
	return err
}
