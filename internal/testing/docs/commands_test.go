package docs

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	goCommand   = regexp.MustCompile(`(?:cd ([\w./-]+) && )?go (?:run|test|build|vet) ((?:[^|#` + "`" + `\n])*)`)
	goFolder    = regexp.MustCompile(`(?:^|\s)(\.[\w./-]*)`)
	makeCommand = regexp.MustCompile(`(?:^|[;&(\s` + "`" + `])make ([a-z0-9-]+)`)
	makeTarget  = regexp.MustCompile(`(?m)^([a-z0-9-]+):(?:[^=]|$)`)
	reference   = regexp.MustCompile(`\[[^\]]+\]\[([^\]]+)\]`)
)

// languages are those of the blocks of code. Without one a block is text, such as an error.
var languages = []string{"", "go", "sh", "sql", "diff", "make", "js"}

// The commands in pages name folders and make targets that exist; and the blocks of code have a
// language that the other tests know, so that none escapes them.
func TestCommands(t *testing.T) {
	t.Parallel()
	var targets []string
	for _, match := range makeTarget.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets = append(targets, match[1])
	}
	found := 0
	check := func(page string, line int, text string) {
		for _, match := range goCommand.FindAllStringSubmatch(text, -1) {
			for _, folder := range goFolder.FindAllStringSubmatch(match[2], -1) {
				dir := path.Join(match[1], strings.TrimSuffix(folder[1], "..."))
				_, err := os.Stat(filepath.Join(root, dir))
				assert.NoError(t, err, "%s:%d: the folder in %q", page, line, match[0])
				found++
			}
		}
		command, _, _ := strings.Cut(text, " #")
		for _, match := range makeCommand.FindAllStringSubmatch(command, -1) {
			assert.Contains(t, targets, match[1], "%s:%d: make %s", page, line, match[1])
			found++
		}
	}
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if !slices.Contains(languages, b.lang) {
				assert.Fail(t, "unknown language of a block", "%s:%d: %q", p.name, b.line, b.lang)
			}
			if b.lang == "sh" {
				for i, line := range strings.Split(b.code, "\n") {
					check(p.name, b.line+i, line)
				}
			}
		}
		text := strings.Join(p.prose, "\n")
		for _, place := range inlineCode.FindAllStringIndex(text, -1) {
			code := strings.ReplaceAll(text[place[0]:place[1]], "\n", " ")
			if !strings.Contains(code, "NAME") { // as in `go run ./docs/examples/NAME`
				check(p.name, 1+strings.Count(text[:place[0]], "\n"), code)
			}
		}
		for i, line := range p.withoutCode() {
			for _, match := range reference.FindAllStringSubmatch(line, -1) {
				assert.Contains(t, text, "["+match[1]+"]: ", "%s:%d: the reference %s", p.name, i+1, match[0])
			}
		}
	}
	require.Greater(t, found, 20)
}
