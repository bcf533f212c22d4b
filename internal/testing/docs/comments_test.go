package docs

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/flamego/session"

// pkg is a package and what it says of itself.
type pkg struct {
	*doc.Package
	fset  *token.FileSet
	files []*ast.File // without those of tests
}

// at says where something is.
func (p *pkg) at(pos token.Pos) string {
	at := p.fset.Position(pos)
	if name, err := filepath.Rel(root, at.Filename); err == nil {
		at.Filename = name
	}
	return fmt.Sprintf("%s:%d", at.Filename, at.Line)
}

// load returns the package in a folder, or nil if there is none.
func load(t *testing.T, dir, importPath string, mode doc.Mode) *pkg {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	p := &pkg{fset: token.NewFileSet()}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(p.fset, name, nil, parser.ParseComments)
		require.NoError(t, err)
		p.files = append(p.files, file)
	}
	if len(p.files) == 0 {
		return nil
	}
	p.Package, err = doc.NewFromFiles(p.fset, slices.Clone(p.files), importPath, mode|doc.PreserveAST)
	require.NoError(t, err)
	return p
}

// folders returns the folders that have Go code, from the root: those of this module and of otel,
// which is a module of its own, but for apps as well.
func folders(t *testing.T) []string {
	t.Helper()
	var (
		all    []string
		nested = make(map[string]bool)
	)
	for _, name := range files(t, "go.mod") {
		nested[path.Dir(name)] = path.Dir(name) != "." && path.Dir(name) != "otel"
	}
	for _, name := range files(t, ".go") {
		dir := path.Dir(name)
		ours := true
		for d := dir; d != "."; d = path.Dir(d) {
			ours = ours && !nested[d]
		}
		if ours && !slices.Contains(all, dir) {
			all = append(all, dir)
		}
	}
	return all
}

// public returns the packages that apps can import.
func public(t *testing.T) []*pkg {
	t.Helper()
	var all []*pkg
	for _, dir := range folders(t) {
		parts := strings.Split(dir, "/")
		if slices.Contains(parts, "internal") || parts[0] == "docs" {
			continue
		}
		if p := load(t, filepath.Join(root, dir), path.Join(module, dir), 0); p != nil {
			all = append(all, p)
		}
	}
	require.Greater(t, len(all), 5)
	return all
}

// Every exported name has a comment, which begins with the name.
func TestExportedNames(t *testing.T) {
	t.Parallel()
	for _, p := range public(t) {
		assert.True(t, strings.HasPrefix(p.Doc, "Package "+p.Name+" "), "package %s has no comment that begins with its name", p.ImportPath)
		for _, n := range exported(p) {
			assert.True(t, begins(n.doc, n.name), "%s: %s has no comment that begins with %q", p.at(n.pos), n.full, n.name)
		}
	}
}

// The comment of a field of options ends with the default.
func TestDefaults(t *testing.T) {
	t.Parallel()
	found := 0
	for _, p := range public(t) {
		for _, n := range exported(p) {
			if !n.option {
				continue
			}
			found++
			sentences := regexp.MustCompile(`\.\s+`).Split(strings.TrimSpace(n.doc), -1)
			assert.Regexp(t, `^Default is .+\.$`, strings.Join(strings.Fields(sentences[len(sentences)-1]), " "),
				"%s: the comment of the option %s does not end with its default", p.at(n.pos), n.full)
		}
	}
	assert.Greater(t, found, 50)
}

// begins reports whether a comment begins with a name.
func begins(text, name string) bool {
	for _, article := range []string{"A ", "An ", "The "} {
		text = strings.TrimPrefix(text, article)
	}
	rest, ok := strings.CutPrefix(text, name)
	return ok && !token.IsIdentifier("x"+rest[:min(1, len(rest))])
}

// name is an exported name.
type name struct {
	name, full string
	doc        string
	pos        token.Pos
	option     bool // a field of options
}

// exported returns the exported names of a package, with methods and fields.
func exported(p *pkg) []name {
	var all []name
	fields := func(of string, list *ast.FieldList, options bool) {
		for _, field := range list.List {
			for _, id := range field.Names { // an embedded field has none
				if id.IsExported() {
					all = append(all, name{id.Name, of + "." + id.Name, field.Doc.Text(), id.Pos(), options})
				}
			}
		}
	}
	funcs := func(of string, list []*doc.Func) {
		for _, f := range list {
			all = append(all, name{f.Name, of + f.Name, f.Doc, f.Decl.Pos(), false})
		}
	}
	values := func(list []*doc.Value) {
		for _, v := range list {
			for _, spec := range v.Decl.Specs {
				spec := spec.(*ast.ValueSpec)
				text := spec.Doc.Text()
				if text == "" && len(v.Decl.Specs) == 1 {
					text = v.Doc
				}
				for _, id := range spec.Names {
					if id.IsExported() {
						all = append(all, name{id.Name, id.Name, text, id.Pos(), false})
					}
				}
			}
		}
	}
	values(slices.Concat(p.Consts, p.Vars))
	funcs("", p.Funcs)
	for _, typ := range p.Types {
		all = append(all, name{typ.Name, typ.Name, typ.Doc, typ.Decl.Pos(), false})
		values(slices.Concat(typ.Consts, typ.Vars))
		funcs("", typ.Funcs)
		funcs(typ.Name+".", typ.Methods)
		switch decl := typ.Decl.Specs[0].(*ast.TypeSpec).Type.(type) {
		case *ast.StructType:
			fields(typ.Name, decl.Fields, strings.HasSuffix(typ.Name, "Options") || strings.HasSuffix(typ.Name, "Config"))
		case *ast.InterfaceType:
			fields(typ.Name, decl.Methods, false)
		}
	}
	return all
}

var (
	docLink     = regexp.MustCompile(`(?:^|[\s(])\[\*?([A-Z]\w*(?:\.[A-Z]\w*)?|[\w./-]+\.[A-Z]\w*(?:\.[A-Z]\w*)?)\]`)
	pageMention = regexp.MustCompile(`\bdocs/[\w./-]*\.(?:md|go)\b`)
)

// Links in comments, such as [Name] and [net/http.Handler], lead to something, and the pages
// that comments name exist.
func TestCommentLinks(t *testing.T) {
	t.Parallel()
	found := 0
	for _, dir := range folders(t) {
		p := load(t, filepath.Join(root, dir), path.Join(module, dir), doc.AllDecls)
		if p == nil {
			continue
		}
		for _, file := range p.files {
			links := p.Parser()
			links.LookupPackage = func(name string) (string, bool) { return imported(p, file, name) }
			for _, group := range file.Comments {
				for _, mention := range pageMention.FindAllString(group.Text(), -1) {
					assert.FileExists(t, filepath.Join(root, mention), p.at(group.Pos()))
				}
				for _, text := range parts(links.Parse(group.Text()).Content) {
					switch text := text.(type) {
					case comment.Plain:
						for _, match := range docLink.FindAllStringSubmatch(string(text), -1) {
							assert.Fail(t, "a link to nothing", "%s: [%s]", p.at(group.Pos()), match[1])
						}
					case *comment.DocLink:
						found++
						assert.True(t, text.ImportPath == "" || has(t, text), "%s: there is no %s.%s", p.at(group.Pos()), text.ImportPath, text.Name)
					}
				}
			}
		}
	}
	assert.Greater(t, found, 20)
}

// imported returns the import path of what a file, or another one of its package, imports
// under this name.
func imported(p *pkg, file *ast.File, name string) (string, bool) {
	if name == p.Name {
		return "", true
	}
	for _, file := range append([]*ast.File{file}, p.files...) {
		for _, spec := range file.Imports {
			of := strings.Trim(spec.Path.Value, `"`)
			if spec.Name != nil && spec.Name.Name == name || spec.Name == nil && path.Base(of) == name {
				return of, true
			}
		}
	}
	return comment.DefaultLookupPackage(name)
}

// parts returns the parts of all paragraphs and headings.
func parts(blocks []comment.Block) []comment.Text {
	var all []comment.Text
	for _, block := range blocks {
		switch block := block.(type) {
		case *comment.Paragraph:
			all = append(all, block.Text...)
		case *comment.Heading:
			all = append(all, block.Text...)
		case *comment.List:
			for _, item := range block.Items {
				all = append(all, parts(item.Content)...)
			}
		}
	}
	return all
}

// has reports whether there is what a link to another package leads to.
func has(t *testing.T, link *comment.DocLink) bool {
	t.Helper()
	dir, ours := strings.CutPrefix(link.ImportPath, module)
	if dir = filepath.Join(root, dir); !ours {
		at, err := build.Import(link.ImportPath, root, build.FindOnly)
		if err != nil {
			return false
		}
		dir = at.Dir
	}
	p := load(t, dir, link.ImportPath, 0)
	if p == nil || link.Name == "" {
		return p != nil
	}
	return p.Parser().LookupSym(link.Recv, link.Name)
}
