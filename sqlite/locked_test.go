package sqlite_test

import "testing"

// TestLockedFile: while somebody else writes for long, sessions can be read.
func TestLockedFile(t *testing.T) {
	t.Parallel()
	env.New(t).Locked(nil)
}
