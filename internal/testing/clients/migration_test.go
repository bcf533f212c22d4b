package clients

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The diff in docs/migrating.md makes of the old app the new one, which compiles.
func TestMigration(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		return string(text)
	}
	_, program, _ := strings.Cut(read("testdata/before/main.go"), "package main\n")
	_, want, _ := strings.Cut(read("testdata/after/main.go"), "package main\n")
	_, diff, _ := strings.Cut(read("../../../docs/migrating.md"), "```diff\n")
	diff, _, _ = strings.Cut(diff, "```\n")

	added := 0
	hunks := strings.Split(diff, "@@")[1:]
	require.NotEmpty(t, hunks)
	for _, hunk := range hunks {
		_, hunk, _ = strings.Cut(hunk, "\n") // the rest of the line is for people
		var from, to strings.Builder
		for line := range strings.Lines(hunk) {
			if line[0] != '+' {
				from.WriteString(line[1:])
			}
			if line[0] != '-' {
				to.WriteString(line[1:])
			}
			if line[0] == '+' {
				added++
			}
		}
		require.Equal(t, 1, strings.Count(program, from.String()), "the old app has no %q", from.String())
		program = strings.Replace(program, from.String(), to.String(), 1)
	}
	require.Equal(t, want, program)
	require.LessOrEqual(t, added, 5, "lines to write")
	out, err := exec.Command("go", "vet", "./testdata/after").CombinedOutput()
	require.NoError(t, err, string(out))
}
