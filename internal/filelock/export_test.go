package filelock

import "os"

// FailStat makes the next look at a file that is locked fail.
func FailStat(err error) {
	working := stat
	stat = func(*os.File) (os.FileInfo, error) {
		stat = working
		return nil, err
	}
}
