package docs

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wordList has the words that the dictionary does not know, one per line, in lower case.
const wordList = "internal/testing/docs/words.txt"

var (
	htmlTag     = regexp.MustCompile(`<!--.*?-->|</?\w[^>]*>`)
	linkTarget  = regexp.MustCompile(`\]\([^)]*\)|^ *\[[^\]]+\]:.*|\]\[[^\]]*\]`)
	quoted      = regexp.MustCompile(`"[^"\s]+"`) // a value
	tokens      = regexp.MustCompile(`[^\s"“”()\[\],;|*—–-]+`)
	prose       = regexp.MustCompile(`^[A-Z]?[a-z]+(?:['’][a-z]+)?$`)
	punctuation = `.:!?'’/`
)

// Words are those of American English, in the pages and in the comments of the Go code. Names
// that the Go code of a package has are none, nor is what looks like code.
func TestSpelling(t *testing.T) {
	t.Parallel()
	at := words(t)
	require.Greater(t, len(at), 2000)
	unknown := misspelt(t, slices.Collect(maps.Keys(at)))

	list := strings.Fields(read(t, wordList))
	assert.True(t, slices.IsSorted(list), "%s is not sorted (sort -u)", wordList)
	used := make(map[string]bool)
	for _, word := range unknown {
		lower := strings.ToLower(word)
		used[lower] = true
		if !slices.Contains(list, lower) {
			assert.Fail(t, "unknown word", "%s: %q is misspelled, or else %q has to be added to %s (sorted, one word per line)", at[word], word, lower, wordList)
		}
	}
	for i, word := range list {
		assert.True(t, used[word], "%s:%d: remove %q, which is used nowhere or in the dictionary", wordList, i+1, word)
	}
}

// misspelt returns the words that the dictionary does not know, in order.
func misspelt(t *testing.T, words []string) []string {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.Command("aspell", "list", "--lang=en_US", "--encoding=utf-8", "--ignore=0", "--personal=/dev/null")
	cmd.Stdin, cmd.Stderr = strings.NewReader(strings.Join(words, "\n")), &said
	out, err := cmd.Output()
	if err != nil {
		message := fmt.Sprintf("aspell or its dictionary is not installed: apt-get install aspell aspell-en (%v) %s", err, &said)
		if ci, _ := strconv.ParseBool(os.Getenv("CI")); ci {
			t.Fatal(message)
		}
		t.Skip(message)
	}
	unknown := strings.Fields(string(out))
	slices.Sort(unknown)
	return slices.Compact(unknown)
}

// words returns all words, and where each is for the first time.
func words(t *testing.T) map[string]string {
	t.Helper()
	at := make(map[string]string)
	for _, p := range texts(t) {
		for i, line := range p.lines {
			for _, word := range proseOf(line) {
				if at[word] == "" && !p.names[word] {
					at[word] = p.at(i)
				}
			}
		}
	}
	return at
}

// text is a page, or a comment of Go code.
type text struct {
	file  string
	line  int // of the first one
	lines []string
	names map[string]bool // that the Go code has
}

func (t text) at(i int) string { return fmt.Sprintf("%s:%d", t.file, t.line+i) }

// texts returns what people read in American English, without code.
func texts(t *testing.T) []text {
	t.Helper()
	var all []text
	for _, p := range pages(t) {
		if strings.HasSuffix(p.name, ".zh.md") {
			continue
		}
		lines := p.withoutCode()
		for i, line := range lines {
			lines[i] = linkTarget.ReplaceAllString(htmlTag.ReplaceAllString(line, " "), "]")
		}
		all = append(all, text{p.name, 1, lines, nil})
	}
	names := make(map[string]map[string]bool) // by folder
	for _, name := range files(t, ".go") {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, filepath.Join(root, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		dir := filepath.Dir(name)
		if names[dir] == nil {
			names[dir] = map[string]bool{filepath.Base(dir): true}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				names[dir][id.Name] = true
			}
			return true
		})
		for _, group := range file.Comments {
			all = append(all, text{name, fset.Position(group.Pos()).Line, lines(group), names[dir]})
		}
	}
	return all
}

// No word stands twice in a row.
func TestDoubledWords(t *testing.T) {
	t.Parallel()
	for _, text := range texts(t) {
		last := ""
		for i, line := range text.lines {
			fields := strings.Fields(line)
			if len(fields) == 0 {
				last = ""
			}
			for _, word := range fields {
				word = strings.ToLower(word)
				if strings.Trim(word, punctuation+",;") == last && prose.MatchString(last) {
					assert.Fail(t, "doubled word", "%s: %q", text.at(i), last)
				}
				last = word
			}
		}
	}
}

// lines returns the text of comments by line. Those of code, directives and the output of
// examples are empty.
func lines(group *ast.CommentGroup) []string {
	var all []string
	for _, c := range group.List {
		for _, line := range strings.Split(c.Text, "\n") {
			text, isLine := strings.CutPrefix(line, "//")
			switch {
			case strings.HasPrefix(text, " Output:"):
				return all
			case strings.HasPrefix(text, "\t"), isLine && !strings.HasPrefix(text, " "):
				text = ""
			}
			all = append(all, text)
		}
	}
	return all
}

// proseOf returns the words of a text, without what is code or an abbreviation.
func proseOf(text string) []string {
	var all []string
	for _, part := range tokens.FindAllString(quoted.ReplaceAllString(text, " "), -1) {
		part = strings.TrimSuffix(strings.Trim(part, punctuation), "'s")
		words := strings.Split(part, "/")
		if slices.ContainsFunc(words, func(word string) bool { return !prose.MatchString(word) }) {
			continue // a path, or a name such as SQLState
		}
		for _, word := range words {
			all = append(all, strings.ReplaceAll(word, "’", "'"))
		}
	}
	return all
}

func TestProseOf(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []string{"The", "session", "reads", "or", "writes", "a", "well", "known", "in", "key", "it", "isn't"},
		proseOf(`The session's s.ID() reads/or-writes "abc", a "well-known MaxAge", GCs in a/b1 3ms [key]; x_y it isn't.`))
}
