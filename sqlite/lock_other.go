//go:build !unix || solaris || aix

package sqlite

import "os"

// lock does nothing: where an open file cannot be replaced, there is no need for it.
func lock(*os.File) error { return nil }
