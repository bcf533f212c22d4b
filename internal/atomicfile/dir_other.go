//go:build !linux

package atomicfile

// Dir is a folder that is known to be plain; see the methods of the Linux one.
type Dir = pathDir

func Load(root, path string, limit int64) (File, error) { return loadPath(root, path, limit) }

func OpenDir(root, path string) (Dir, error) { return openPathDir(root, path) }
