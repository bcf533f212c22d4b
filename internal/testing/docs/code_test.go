package docs

import (
	"fmt"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// known are the packages that a piece of code may use without an import.
var known = map[string]string{
	"context":   "context",
	"sql":       "database/sql",
	"json":      "encoding/json",
	"gob":       "encoding/gob",
	"hex":       "encoding/hex",
	"errors":    "errors",
	"fmt":       "fmt",
	"template":  "html/template",
	"io":        "io",
	"log":       "log",
	"slog":      "log/slog",
	"http":      "net/http",
	"httptest":  "net/http/httptest",
	"url":       "net/url",
	"os":        "os",
	"signal":    "os/signal",
	"slices":    "slices",
	"strconv":   "strconv",
	"strings":   "strings",
	"sync":      "sync",
	"syscall":   "syscall",
	"testing":   "testing",
	"synctest":  "testing/synctest",
	"time":      "time",
	"flamego":   "github.com/flamego/flamego",
	"goredis":   "github.com/go-redis/redis/v8",
	"options":   "go.mongodb.org/mongo-driver/mongo/options",
	"session":   "github.com/flamego/session",
	"mongo":     "github.com/flamego/session/mongo",
	"mysql":     "github.com/flamego/session/mysql",
	"postgres":  "github.com/flamego/session/postgres",
	"anydriver": "github.com/flamego/session/postgres/anydriver",
	"redis":     "github.com/flamego/session/redis",
	"anyclient": "github.com/flamego/session/redis/anyclient",
	"sqlite":    "github.com/flamego/session/sqlite",
	"storetest": "github.com/flamego/session/storetest",

	"sessiontest": "github.com/flamego/session/sessiontest",
}

// given is what the pieces of code take as given.
const given = `package main

import (
	"database/sql"
	"net/http"

	"github.com/flamego/flamego"
)

var (
	f  *flamego.Flame
	db *sql.DB
)

// sessionOf is what an app has kept with a user, settle what it does for an order, and fail
// how it answers with an error.
func sessionOf(string) string         { return "" }
func settle(string)                   {}
func fail(http.ResponseWriter, error) {}

func main() {}
`

// All Go code in the pages compiles: programs as they are, and the declarations and
// statements of a page together in one more. Pieces of a program are for [TestPieces].
func TestCode(t *testing.T) {
	t.Parallel()
	// Inside the module, but where "./..." does not look.
	build := filepath.Join(root, ".build")
	require.NoError(t, os.MkdirAll(build, 0o755))
	dir, err := os.MkdirTemp(build, "docs")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	var programs []string
	add := func(program, name, code string) {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, program), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, program, name), []byte(code), 0o600))
		if program = "./" + program; !slices.Contains(programs, program) {
			programs = append(programs, program)
		}
	}
	blocks := 0
	for _, p := range pages(t) {
		full, err := filepath.Abs(filepath.Join(root, p.name))
		require.NoError(t, err)
		folder := strings.ReplaceAll(p.name, "/", "-")
		for _, b := range p.blocks {
			// The compiler then names the line of the page.
			name, line := fmt.Sprintf("line%d.go", b.line), fmt.Sprintf("//line %s:%d\n", full, b.line)
			blocks++
			switch {
			case b.lang != "go" || fromProgram.MatchString(b.intro):
			case isProgram(b.code):
				add(path.Join(folder, fmt.Sprint("program", b.line)), "main.go", line+b.code)
			default:
				add(folder, "given.go", given)
				add(folder, name, piece(b, line))
			}
		}
	}
	require.Greater(t, blocks, 20)

	// One command for all, as it starts slowly and loads the packages for each anew.
	cmd := exec.Command("go", append([]string{"vet"}, programs...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	assert.NoError(t, err, "%s", out)
}

// isProgram reports whether there is a package clause, perhaps below a comment.
func isProgram(code string) bool {
	_, err := parser.ParseFile(token.NewFileSet(), "", code, parser.PackageClauseOnly)
	return err == nil
}

// piece makes a file of statements or declarations.
func piece(b block, line string) string {
	code := line + b.code
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+code, parser.SkipObjectResolution); err != nil {
		code = "func _() {\n" + code + "}\n"
	}
	file, _ := parser.ParseFile(token.NewFileSet(), "", "package p\n"+code, 0) // its errors are for the compiler
	var imports []string
	for _, name := range file.Unresolved {
		if of := known[name.Name]; of != "" && !slices.Contains(imports, name.Name+` "`+of+`"`) {
			imports = append(imports, name.Name+` "`+of+`"`)
		}
	}
	return "package main\n\nimport (\n" + strings.Join(imports, "\n") + "\n)\n\n" + code
}

// Go code is formatted. Pieces of a program may be parts of statements, and then are not
// looked at.
func TestFormat(t *testing.T) {
	t.Parallel()
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if b.lang != "go" {
				continue
			}
			want, err := format.Source([]byte(b.code))
			if err != nil {
				assert.Regexp(t, fromProgram, b.intro, "%s:%d is not Go: %v", p.name, b.line, err)
				continue
			}
			assert.Equal(t, string(want), b.code, "%s:%d is not as gofmt has it", p.name, b.line)
		}
	}
}

// What stands before a piece of a program, and where the program is.
var fromProgram = regexp.MustCompile(`\]\(([^)]*\.go)\)[:：]$`)

// Pieces of a program stand in it as they are shown, paragraph by paragraph.
func TestPieces(t *testing.T) {
	t.Parallel()
	plain := func(code string) string {
		lines := strings.Split(strings.TrimSpace(code), "\n")
		for i := range lines {
			lines[i] = strings.TrimSpace(lines[i])
		}
		return "\n" + strings.Join(lines, "\n") + "\n"
	}
	pieces := 0
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			match := fromProgram.FindStringSubmatch(b.intro)
			if b.lang != "go" || match == nil {
				continue
			}
			pieces++
			name := path.Join(path.Dir(p.name), match[1])
			program := plain(read(t, name))
			for paragraph := range strings.SplitSeq(b.code, "\n\n") {
				if !strings.Contains(program, plain(paragraph)) {
					assert.Fail(t, "not in the program", "%s:%d: %s does not have these lines:\n%s", p.name, b.line, name, paragraph)
				}
			}
		}
	}
	assert.NotZero(t, pieces)
}
