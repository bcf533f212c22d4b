// Package figures notes what the tests of faults have counted, for the tables of docs/reliability.md.
package figures

import (
	"fmt"
	"os"
	"sync"
)

var mu sync.Mutex

// Note notes what was counted of a subject of a row, in the file that FAULTS_FIGURES names. Without
// that variable it does nothing. internal/faults/report says what the rows are.
func Note(row, subject, text string) error {
	path := os.Getenv("FAULTS_FIGURES")
	if path == "" {
		return nil
	}
	mu.Lock()
	defer mu.Unlock()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintf(f, "%s\t%s\t%s\n", row, subject, text); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
