package browser

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Without FLAMEGO_ADDR only this machine reaches the login app. The port is taken, so the app ends,
// and says where it wanted to listen.
func TestListen(t *testing.T) {
	t.Parallel()
	path, err := program()
	require.NoError(t, err)
	const address = "127.0.0.1:2830"
	if l, err := net.Listen("tcp", address); err == nil { // or it is taken already
		t.Cleanup(func() { require.NoError(t, l.Close()) })
	}
	cmd := exec.Command(path, "-store", "memory", "-db", filepath.Join(t.TempDir(), "login.db"))
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "FLAMEGO_ADDR=") })
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "Starting at "+address)
	assert.Contains(t, string(out), "listen tcp "+address+": ")
}
