package examples

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var codeBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// A piece of a program, and where that is.
var fromProgram = regexp.MustCompile("(?ms)^[^\n]*\\]\\((examples/[^)\n]*\\.go)\\):\n\n```go\n(.*?)^```$")

// What the pieces of code in the documentation take as given.
const givenCode = `package main

import (
	"context"
	"database/sql"
	"encoding/gob"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/flamego"
	goredis "github.com/go-redis/redis/v8"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/mongo"
	"github.com/flamego/session/mysql"
	"github.com/flamego/session/postgres"
	"github.com/flamego/session/redis"
	"github.com/flamego/session/sessiontest"
	"github.com/flamego/session/sqlite"
	"github.com/flamego/session/storetest"
)

var _ = []any{
	context.Background, sql.Open, gob.Register, fmt.Sprint, template.New, log.Fatal, http.StatusOK, os.Interrupt, signal.Notify, slices.Clone[[]int], strings.Contains,
	syscall.SIGTERM, (*testing.T)(nil), time.Second, flamego.New, goredis.NewClient, options.Client, session.New,
	mongo.Initer, mysql.Initer, postgres.Initer, redis.Initer, sqlite.Initer, storetest.Run, sessiontest.New, httptest.NewRequest, synctest.Test,
}

var (
	f  *flamego.Flame
	db *sql.DB
)

// open is that of the store of one's own that the guide talks of.
func open(context.Context, Config) (session.Backend, error) { return nil, nil }

// sessionOf is what an app has kept with a user.
func sessionOf(string) string { return "" }

func main() {}
`

// All Go code in the documentation compiles: programs as they are, declarations
// and statements together in one more, and pieces of a program where they are from.
func TestDocs(t *testing.T) {
	names, err := filepath.Glob("../*.md")
	require.NoError(t, err)
	var (
		pieces strings.Builder
		files  []string
		dir    = t.TempDir()
	)
	pieces.WriteString(givenCode)
	for _, name := range append(names, "../../README.md", "../../CHANGELOG.md") {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		text = fromProgram.ReplaceAll(text, nil)
		for _, block := range codeBlock.FindAllStringSubmatch(string(text), -1) {
			code := block[1]
			if !strings.HasPrefix(code, "package ") {
				if _, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+code, 0); err != nil {
					code = "func _() {\n" + code + "}\n" // statements
				}
				fmt.Fprintf(&pieces, "\n// %s\n%s", filepath.Base(name), code)
				continue
			}
			files = append(files, filepath.Join(dir, fmt.Sprintf("program%d.go", len(files))))
			require.NoError(t, os.WriteFile(files[len(files)-1], []byte(code), 0o600))
		}
	}
	files = append(files, filepath.Join(dir, "pieces.go"))
	require.NoError(t, os.WriteFile(files[len(files)-1], []byte(pieces.String()), 0o600))

	require.Greater(t, len(files), 1, "no programs found")
	for _, name := range files {
		out, err := exec.Command("go", "vet", name).CombinedOutput()
		assert.NoError(t, err, "%s", out)
	}
}

// Pieces of a program stand in it as they are shown, paragraph by paragraph.
func TestPieces(t *testing.T) {
	var text []byte
	for _, name := range []string{"../guide.md", "../migrating.md"} {
		page, err := os.ReadFile(name)
		require.NoError(t, err)
		text = append(text, page...)
	}
	plain := func(code string) string {
		lines := strings.Split(strings.TrimSpace(code), "\n")
		for i := range lines {
			lines[i] = strings.TrimSpace(lines[i])
		}
		return "\n" + strings.Join(lines, "\n") + "\n"
	}
	pieces := fromProgram.FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, pieces)
	for _, piece := range pieces {
		program, err := os.ReadFile(filepath.Join("..", piece[1]))
		require.NoError(t, err)
		for paragraph := range strings.SplitSeq(piece[2], "\n\n") {
			assert.Contains(t, plain(string(program)), plain(paragraph), piece[1])
		}
	}
}

// The tests that the tables of standards name exist, and so do the rules.
func TestNamedTests(t *testing.T) {
	text, err := os.ReadFile("../security.md")
	require.NoError(t, err)
	_, tables, _ := strings.Cut(string(text), "\n## Standards\n")
	exist := make(map[string]bool)
	definition := regexp.MustCompile(`(?m)^func ((?:Test|Example)\w+)\(|\bname: +"([a-z ]+/[^"]+)"`)
	err = filepath.WalkDir("../..", func(path string, _ os.DirEntry, err error) error {
		isRule := filepath.Base(filepath.Dir(path)) == "storetest"
		if err != nil || !strings.HasSuffix(path, ".go") || isRule == strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, match := range definition.FindAllStringSubmatch(string(code), -1) {
			exist[match[1]+match[2]] = true
		}
		return err
	})
	require.NoError(t, err)
	named := regexp.MustCompile("`((?:Test|Example)[A-Z]\\w*|[a-z ]+/[a-z ,]+)`").FindAllStringSubmatch(tables, -1)
	require.Greater(t, len(named), 50)
	for _, match := range named {
		assert.True(t, exist[match[1]], "there is no test %s", match[1])
	}
}

// Links to other files of the repository lead somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:, ]+)(#[^)]*)?\)`)
	names, err := filepath.Glob("../*.md")
	require.NoError(t, err)
	for _, name := range append(names, "../../README.md", "../../CHANGELOG.md") {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			_, err := os.Stat(filepath.Join(filepath.Dir(name), match[1]))
			assert.NoError(t, err, "%s: the link %s", name, match[1])
		}
	}
}
