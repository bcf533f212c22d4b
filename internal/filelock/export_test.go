package filelock

import "os"

// Stripes is how many lock files there are.
const Stripes = stripes

// FailStat makes the next look at a file that is locked fail.
func FailStat(err error) {
	working := stat
	stat = func(*os.File) (os.FileInfo, error) {
		stat = working
		return nil, err
	}
}
