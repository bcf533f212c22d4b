package docs

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// without are functions whose example shows no output, and why not.
var without = map[string]string{
	"mongo.Initer":      "needs a server",
	"mysql.Initer":      "needs a server",
	"postgres.Initer":   "needs a server",
	"anydriver.Initer":  "needs a server",
	"redis.Initer":      "needs a server",
	"anyclient.Initer":  "needs a server",
	"anyclient.GoRedis": "needs a server",
	"storetest.Run":     "is a test",
}

// others are the main names that are no functions, with the least number of their examples.
var others = map[string]int{
	"session.Backend":         1,
	"session.CookieOptions":   2,
	"session.Encoder":         1,
	"session.Flash":           1,
	"session.Manager":         1,
	"session.Manager_Close":   1,
	"session.Manager_Handler": 1,
	"session.Manager_Store":   1,
	"session.Options":         5,
	"session.OwnerIndex":      1,
	"session.Session":         2,

	"sessiontest.Visitor_Change":  1,
	"sessiontest.Visitor_Cookies": 1,
	"sessiontest.Visitor_Do":      1,
	"sessiontest.Visitor_Flash":   1,
	"sessiontest.Visitor_Get":     1,
	"sessiontest.Visitor_ID":      1,
}

// Every exported function of a package for apps has an example, and so have the main types.
// The examples show their output, which go test compares.
func TestExamples(t *testing.T) {
	t.Parallel()
	listed := len(without) + len(others)
	for _, p := range public(t) {
		var tests []*ast.File
		dir := filepath.Join(root, strings.TrimPrefix(p.ImportPath, module))
		names, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		require.NoError(t, err)
		for _, name := range names {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			require.NoError(t, err)
			tests = append(tests, file)
		}
		examples := doc.Examples(tests...)
		count := func(name string, output bool) int {
			n := 0
			for _, ex := range examples {
				// What follows the name of a type is a method, or a suffix, which begins in lower case.
				suffix, ok := strings.CutPrefix(ex.Name, name+"_")
				isSuffix := ok && strings.ToLower(suffix[:1]) == suffix[:1]
				if (ex.Name == name || isSuffix) && (ex.Output != "" || ex.EmptyOutput || !output) {
					n++
				}
			}
			return n
		}
		funcs := slices.Clone(p.Funcs)
		for _, typ := range p.Types {
			funcs = append(funcs, typ.Funcs...)
		}
		for _, f := range funcs {
			full := p.Name + "." + f.Name
			assert.NotZero(t, count(f.Name, without[full] == ""), "%s has no Example%s, or none with // Output:", full, f.Name)
			if without[full] != "" {
				listed--
				assert.Zero(t, count(f.Name, true), "%s has an example with output: remove it from the list of those without", full)
			}
		}
		for full, least := range others {
			if of, name, _ := strings.Cut(full, "."); of == p.Name {
				listed--
				assert.GreaterOrEqual(t, count(name, true), least, "examples with output of %s", full)
			}
		}
	}
	assert.Zero(t, listed, "the lists name packages or functions that there are no more")
}
