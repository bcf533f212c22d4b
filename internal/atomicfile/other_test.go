//go:build unix && !linux

package atomicfile

func native() []impl { return nil }
