// Package docs tests what people read: the pages, the comments of the Go code
// and its examples.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// root is the folder of the repository.
const root = "../../.."

// page is a page of the documentation.
type page struct {
	name   string   // from the root: "docs/guide.md"
	prose  []string // its lines; those of code and of the front matter are empty
	blocks []block
}

// block is a block of code.
type block struct {
	lang  string
	line  int    // of its first line of code, from 1
	code  string // without the indentation of the block
	intro string // the last line of text before it
}

var (
	fence      = regexp.MustCompile("^( *)(```+|~~~+) *(\\w*)")
	inlineCode = regexp.MustCompile("``[^\n]*?``|`[^`\n]*(?:\n[^`\n]+)*`") // within a paragraph
	visible    = regexp.MustCompile(`[^\n]`)
)

// pages returns all pages.
func pages(t *testing.T) []page {
	t.Helper()
	var all []page
	for _, name := range files(t, ".md") {
		all = append(all, newPage(name, read(t, name)))
	}
	require.NotEmpty(t, all)
	return all
}

func newPage(name, text string) page {
	p := page{name: name, prose: strings.Split(text, "\n")}
	if p.prose[0] == "---" { // front matter
		for i := range p.prose {
			last := i > 0 && p.prose[i] == "---"
			p.prose[i] = ""
			if last {
				break
			}
		}
	}
	var (
		intro  string
		open   *block
		indent string
		mark   string
	)
	for i, line := range p.prose {
		match := fence.FindStringSubmatch(line)
		switch {
		case open == nil && match != nil:
			indent, mark = match[1], match[2]
			open = &block{lang: match[3], line: i + 2, intro: intro}
		case open == nil:
			if strings.TrimSpace(line) != "" {
				intro = line
			}
			continue
		case match != nil && strings.HasPrefix(match[2], mark) && match[3] == "":
			p.blocks = append(p.blocks, *open)
			open = nil
		default:
			open.code += strings.TrimPrefix(line, indent) + "\n"
		}
		p.prose[i] = ""
	}
	return p
}

// withoutCode returns the lines of prose with spaces in place of inline code.
func (p page) withoutCode() []string {
	text := inlineCode.ReplaceAllStringFunc(strings.Join(p.prose, "\n"), func(code string) string {
		return visible.ReplaceAllString(code, " ")
	})
	return strings.Split(text, "\n")
}

// files returns the files with this ending, from the root, without those of tests that hold
// data and those that no people read.
func files(t *testing.T, ending string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		hidden := strings.HasPrefix(name, ".") && path != root && name != ".github"
		if d.IsDir() && (hidden || name == "testdata" || name == "node_modules") {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(name, ending) {
			path, err = filepath.Rel(root, path)
			names = append(names, filepath.ToSlash(path))
		}
		return err
	})
	require.NoError(t, err)
	slices.Sort(names)
	return names
}

// read returns a file, named from the root.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	return string(text)
}

func TestNewPage(t *testing.T) {
	text := "---\ntitle: x\n---\n\nText.\n\n```go:no-line-numbers {2}\na\n\nb\n```\n\n- Item:\n  ````\n  ```\n    c\n  ````\nEnd."
	p := newPage("x.md", text)
	assert.Equal(t, []block{
		{lang: "go", line: 8, code: "a\n\nb\n", intro: "Text."},
		{line: 15, code: "```\n  c\n", intro: "- Item:"},
	}, p.blocks)
	assert.Equal(t, "Text.- Item:End.", strings.Join(p.prose, ""))

	p = newPage("x.md", "A `b` ``c`d`` `e\nf` g.\n\n`h\n\ni`")
	assert.Equal(t, []string{"A               ", "   g.", "", "`h", "", "i`"}, p.withoutCode())
}
