package examples

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/flamego/session"

// The pages for the site of Flamego, and the headings above their programs.
var pages = []struct {
	name     string
	headings []string
}{
	{"session.md", []string{
		"### Memory", "### File", "### PostgreSQL", "### MySQL", "### Redis", "### MongoDB", "### SQLite",
		"## Flash messages", "## Flash messages",
	}},
	{"session.zh.md", []string{
		"### 内存", "### 文件", "### PostgreSQL", "### MySQL", "### Redis", "### MongoDB", "### SQLite",
		"## 一次性消息（Flash）", "## 一次性消息（Flash）",
	}},
}

// block is a block of code in a page.
type block struct {
	heading string // the one above it
	lang    string // "go", or empty
	info    string // what else stands behind the opening fence
	code    string
}

// readPage returns a page and its blocks.
func readPage(t *testing.T, name string) (page string, blocks []block) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", name))
	require.NoError(t, err)
	heading, open := "", false
	for line := range strings.Lines(string(text)) {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open:
			require.Equal(t, "\n", fence, "%s: the end of a block under %s", name, heading)
			open = false
		case isFence:
			lang := regexp.MustCompile(`^\w*`).FindString(fence)
			blocks = append(blocks, block{heading: heading, lang: lang, info: strings.TrimSpace(fence[len(lang):])})
			open = true
		case open:
			blocks[len(blocks)-1].code += line
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(line)
		}
	}
	require.False(t, open, "%s: the last block has no end", name)
	return string(text), blocks
}

// programs returns the blocks with programs.
func programs(blocks []block) []block {
	return slices.DeleteFunc(slices.Clone(blocks), func(b block) bool { return b.lang != "go" })
}

// Each program of a page is an example, byte for byte. It stands under its heading, and
// the lines that matter in it are highlighted.
func TestPagesShowExamples(t *testing.T) {
	for _, page := range pages {
		_, blocks := readPage(t, page.name)
		found := programs(blocks)
		require.Len(t, found, len(examples), page.name)
		for i, ex := range examples {
			code, err := os.ReadFile(filepath.Join(ex.name, "main.go"))
			require.NoError(t, err)
			at := page.name + ": " + ex.name
			assert.Equal(t, string(code), found[i].code, at)
			assert.Equal(t, page.headings[i], found[i].heading, at)
			assert.Equal(t, highlights(t, string(code), ex.walk != nil), found[i].info, at)
		}
	}
}

// highlights returns what highlights the lines of a program that matter, as "{14-19,22}":
// the call that opens its store, or else what sets a flash and the function that takes it.
func highlights(t *testing.T, code string, flash bool) string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", code, 0)
	require.NoError(t, err)
	var ranges []string
	add := func(n ast.Node) {
		from, to := files.Position(n.Pos()).Line, files.Position(n.End()).Line
		lines := fmt.Sprintf("%d-%d", from, to)
		if from == to {
			lines = fmt.Sprint(from)
		}
		ranges = append(ranges, lines)
	}
	called := "Sessioner"
	if flash {
		called = "SetFlash"
	}
	takesFlash := func(f *ast.FuncType) bool {
		return flash && slices.ContainsFunc(f.Params.List, func(p *ast.Field) bool { return selects(p.Type, "Flash") })
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if selects(n.Fun, called) {
				add(n)
			}
		case *ast.FuncDecl:
			if takesFlash(n.Type) {
				add(n)
			}
		case *ast.FuncLit:
			if takesFlash(n.Type) {
				add(n)
			}
		}
		return true
	})
	return "{" + strings.Join(ranges, ",") + "}"
}

// selects tells whether the expression is x.name.
func selects(expr ast.Expr, name string) bool {
	s, ok := expr.(*ast.SelectorExpr)
	return ok && s.Sel.Name == name
}

// The pages have the same headings, blocks, boxes and links, in the same order, and the
// front matter of a page of the site.
func TestPagesAlike(t *testing.T) {
	frame := regexp.MustCompile("(?ms)\\A---\n.*?^---$|^```.*?^```$|^#+ |^:::[^\n]*$|^- |\\]\\([^), ]+\\)")
	skeleton := func(name string) []string {
		page, _ := readPage(t, name)
		require.Regexp(t, `\A---\nprev:\n  text: \w+\n  link: \./\w+\nnext:\n  text: \w+\n  link: \./\w+\n---\n\n# session\n`, page)
		return frame.FindAllString(page, -1)
	}
	assert.Equal(t, skeleton(pages[0].name), skeleton(pages[1].name))
}

// The links of the pages lead to files and types of this repository: the pages are for
// another site, so their links are absolute.
func TestPageLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^), ]+)\)`)
	for _, page := range pages {
		text, _ := readPage(t, page.name)
		links := link.FindAllStringSubmatch(text, -1)
		require.Len(t, links, 15, page.name)
		// VitePress makes a link of it, and refuses one to localhost.
		assert.NotRegexp(t, "[^(`]https?://", text, page.name)
		for _, match := range links {
			kind, path, name := inRepository(match[1])
			path = filepath.Join("../..", filepath.FromSlash(path))
			info, err := os.Stat(path)
			require.NoError(t, err, "%s: %s", page.name, match[1])
			assert.Equal(t, kind != "blob", info.IsDir(), "%s: %s", page.name, match[1])
			if name != "" {
				assert.Contains(t, typesOf(t, path), name, "%s: %s", page.name, match[1])
			}
		}
	}
}

// inRepository returns where a link leads: to a file ("blob") or folder ("tree") on GitHub,
// or to a package ("pkg"), maybe to a type of it. It returns a path that does not exist for
// any other link.
func inRepository(link string) (kind, path, name string) {
	if path, ok := strings.CutPrefix(link, "https://pkg.go.dev/"+module); ok {
		path, name, _ = strings.Cut(path, "#")
		return "pkg", path, name
	}
	rest, ok := strings.CutPrefix(link, "https://github.com/"+module[len("github.com/"):])
	if !ok {
		return "", "no such file", ""
	}
	if rest == "" {
		return "tree", ".", ""
	}
	for _, kind := range []string{"blob", "tree"} {
		if path, ok := strings.CutPrefix(rest, "/"+kind+"/main/"); ok {
			return kind, path, ""
		}
	}
	return "", "no such file", ""
}

// typesOf returns the names of the types in the Go files of a folder.
func typesOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	var names []string
	for _, file := range files {
		code, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, match := range regexp.MustCompile(`(?m)^type (\w+) `).FindAllStringSubmatch(string(code), -1) {
			names = append(names, match[1])
		}
	}
	return names
}

// The pages say what the module wants.
func TestPagesNameVersions(t *testing.T) {
	text, err := os.ReadFile("../../go.mod")
	require.NoError(t, err)
	want := regexp.MustCompile(`(?s)\ngo (\d+\.\d+)\.0\n.*flamego/flamego v(\S+)`).FindStringSubmatch(string(text))
	require.Len(t, want, 3)
	for _, page := range pages {
		text, blocks := readPage(t, page.name)
		versions := regexp.MustCompile(`Go \*\*(\S+)\*\*.*Flamego \*\*(\S+)\*\*`).FindStringSubmatch(text)
		require.Len(t, versions, 3, page.name)
		assert.Equal(t, want[1:], versions[1:], page.name)
		assert.Equal(t, block{blocks[0].heading, "", ":no-line-numbers", "go get " + module + "\n"}, blocks[0])
	}
}

// A newcomer pastes each program into an empty folder, and runs there what the page says.
// What is not downloaded yet is fetched as the environment says.
func TestPagesPasted(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	_, blocks := readPage(t, pages[0].name)
	commands := strings.Split(strings.TrimSpace(blocks[1].code), "\n")
	require.Equal(t, []string{"go mod init app", "go mod tidy", "go run ."}, commands)
	commands = []string{
		commands[0],
		// This module as it is here, in place of the published one.
		"go mod edit -require=" + module + "@v0.0.0 -replace=" + module + "=" + root,
		commands[1],
		"go build -o app .", // as "go run" does; an interrupt does not get through that
	}
	for i, ex := range examples {
		t.Run(ex.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(programs(blocks)[i].code), 0o600))
			for _, command := range commands {
				args := strings.Fields(command)
				cmd := exec.Command(args[0], args[1:]...)
				cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off")
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, "%s: %s", command, out)
			}
			ex.visit(t, filepath.Join(dir, "app"))
		})
	}
}
