package faults

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/flamego/session/internal/testing/figures"
	"github.com/flamego/session/internal/testing/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// full reports whether all rounds are run, on all subjects.
func full() bool { return os.Getenv("FAULTS") == "full" }

// rounds returns how many rounds there are in the short form and in the full form.
func rounds(short, all int) int {
	if full() {
		return all
	}
	return short
}

// beside has a row that waits more than it works run beside others in the short form. In the full form,
// whose times count, each row runs alone.
func beside(t *testing.T) {
	if !full() {
		t.Parallel()
	}
}

// figure notes what a row has measured of a subject, for docs/reliability.md. The row and the
// subject are the names of the test and of the subtest.
func figure(t *testing.T, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	t.Log(text)
	if t.Failed() {
		return
	}
	row, subject, _ := strings.Cut(t.Name(), "/")
	if err := figures.Note(row, subject, text); err != nil {
		t.Fatal(err)
	}
}
