package faults

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// mounting returns the attributes of a process that may mount: root with mounts of its own, or
// an ordinary user whom the system lets be root apart from all others. If the system allows
// neither, as some sandboxes of CI do, the row ends and says so; in the full form that is a
// failure. TestFileSizeLimit and TestReadOnlyFolder need no mount, and have the same checks.
func mounting(t *testing.T) *syscall.SysProcAttr {
	t.Helper()
	own := &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	user := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, Unshareflags: syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	dir := t.TempDir()
	var errs []error
	for _, attr := range []*syscall.SysProcAttr{own, user} {
		cmd := exec.Command("mount", "-t", "tmpfs", "none", dir)
		cmd.SysProcAttr = attr
		out, err := cmd.CombinedOutput()
		if err == nil {
			return attr
		}
		errs = append(errs, fmt.Errorf("%w: %s", err, out))
	}
	msg := fmt.Sprintf("%s IS NOT RUN: this system lets nobody mount a tmpfs, neither root nor in a user namespace: %v", t.Name(), errs)
	fmt.Fprintln(os.Stderr, msg)
	if full() {
		t.Fatal(msg)
	}
	t.Skip(msg)
	return nil
}

// small is a file system in memory whose size can be changed.
type small struct {
	t   *testing.T
	dir string
}

func newSmall(t *testing.T) small {
	t.Helper()
	d := small{t, t.TempDir()}
	require.NoError(t, unix.Mount("none", d.dir, "tmpfs", 0, "mode=0700"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(d.dir, unix.MNT_DETACH)) })
	d.roomy()
	return d
}

const blockSize = 4096

// leave leaves room for so many more files and blocks of content.
func (d small) leave(inodes, blocks int) {
	d.t.Helper()
	var st unix.Statfs_t
	require.NoError(d.t, unix.Statfs(d.dir, &st))
	require.EqualValues(d.t, blockSize, st.Bsize)
	options := fmt.Sprintf("nr_inodes=%d,size=%d", int(st.Files-st.Ffree)+inodes, (int(st.Blocks-st.Bfree)+blocks)*blockSize)
	require.NoError(d.t, unix.Mount("none", d.dir, "tmpfs", unix.MS_REMOUNT, options), options)
}

const plenty = 100_000

func (d small) roomy() {
	d.t.Helper()
	d.leave(plenty, plenty)
}
