package session

import (
	"crypto/rand"
	"fmt"
)

const (
	idAlphabet      = "0123456789abcdefghijklmnopqrstuvwxyz"
	defaultIDLength = 16
)

// randomSource is crypto/rand; tests make it fail.
var randomSource = rand.Read

// newID returns a random session ID of the given length, or of the default
// length if that is less than the minimum. 16 characters hold 82 bits.
func newID(length int) (string, error) {
	if length < minSIDLength {
		length = defaultIDLength
	}

	// A byte below the greatest multiple of 36 is taken modulo 36, any other is
	// drawn again: all characters are equally likely.
	const limit = 256 - 256%len(idAlphabet)
	id := make([]byte, 0, length)
	buf := make([]byte, length+length/4)
	for len(id) < length {
		if _, err := randomSource(buf); err != nil {
			return "", fmt.Errorf("session: random source: %w", err)
		}
		for _, b := range buf {
			if int(b) < limit && len(id) < length {
				id = append(id, idAlphabet[int(b)%len(idAlphabet)])
			}
		}
	}
	return string(id), nil
}
