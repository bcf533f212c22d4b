// Package operations runs the lines of docs/operations.md on real servers. Sessions are made by the
// stores, a line is run as it stands on the page, and the store says what is live then.
package operations

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/testing/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// block is a block of code of the page that operators run. Its label is in bold in the text before it.
type block struct{ section, label, lang, code string }

var (
	labels = regexp.MustCompile(`^ *\*\*([^*]+)\.\*\*`)
	fence  = regexp.MustCompile("^( *)```(\\w*)$")
)

// readPage returns all blocks of the page. No two of a section have the same label.
func readPage(t *testing.T) (blocks []block) {
	t.Helper()
	text, err := os.ReadFile("../../../docs/operations.md")
	require.NoError(t, err)
	var section, label, indent string
	var open *block
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		mark := fence.FindStringSubmatch(line)
		switch {
		case open != nil && mark != nil:
			if slices.Contains([]string{"sh", "sql", "js"}, open.lang) { // others are Go, or text
				require.NotEmpty(t, open.label, "a block of %s has no label: %s", section, open.code)
				blocks = append(blocks, *open)
			}
			open = nil
		case open != nil:
			open.code += strings.TrimPrefix(line, indent) + "\n"
		case mark != nil:
			indent, open = mark[1], &block{section: section, label: label, lang: mark[2]}
			label = ""
		case strings.HasPrefix(line, "## "):
			section, label = line[len("## "):], ""
		case labels.MatchString(line):
			label = labels.FindStringSubmatch(line)[1]
		}
	}
	require.Nil(t, open)
	for i, b := range blocks {
		require.False(t, slices.ContainsFunc(blocks[:i], func(other block) bool {
			return other.section == b.section && other.label == b.label
		}), "%s has two blocks %q", b.section, b.label)
	}
	return blocks
}

// sectionOf returns the blocks of a section.
func sectionOf(t *testing.T, section string) []block {
	t.Helper()
	blocks := slices.DeleteFunc(readPage(t), func(b block) bool { return b.section != section })
	require.NotEmpty(t, blocks)
	return blocks
}

// take removes the block with this label, and returns its code.
func take(t *testing.T, blocks *[]block, label string) string {
	t.Helper()
	i := slices.IndexFunc(*blocks, func(b block) bool { return b.label == label })
	require.GreaterOrEqual(t, i, 0, "no block %q", label)
	code := (*blocks)[i].code
	*blocks = slices.Delete(*blocks, i, i+1)
	return code
}

// No section has blocks that no test runs.
func TestSections(t *testing.T) {
	t.Parallel()
	var sections []string
	for _, b := range readPage(t) {
		sections = append(sections, b.section)
	}
	require.Equal(t, []string{"Names of a session", "PostgreSQL", "MySQL and MariaDB", "SQLite", "Files", "Redis", "MongoDB"},
		slices.Compact(sections))
}

// needs skips the test if a program is not installed. With CI=true it fails.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			if ci, _ := strconv.ParseBool(os.Getenv("CI")); ci {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}

// shell runs lines by sh, and returns what they print.
func shell(t *testing.T, env []string, lines string) string {
	t.Helper()
	return pipe(t, env, lines, "sh", "-e", "-u")
}

// pipe runs a program that reads what it is to do. The deadline is for a loop that never ends.
func pipe(t *testing.T, env []string, lines, program string, args ...string) string {
	t.Helper()
	var said strings.Builder
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second // for what the shell has started
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin, cmd.Stderr = strings.NewReader(lines), &said
	out, err := cmd.Output()
	require.NoError(t, err, "%s\n%s%s", lines, out, said.String())
	require.Empty(t, said.String(), "%s\n%s", lines, out)
	return string(out)
}
