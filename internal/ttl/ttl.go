// Package ttl turns the time that a session has left into what databases count in.
package ttl

import "time"

// Millis returns d in milliseconds, rounded up, so that no session ends early.
func Millis(d time.Duration) int64 {
	ms := d.Milliseconds()
	if d%time.Millisecond > 0 {
		ms++
	}
	return ms
}
