package docs

import (
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests that the README and docs/security.md name in their tables exist, and so do the rules
// of package storetest.
func TestNamedTests(t *testing.T) {
	t.Parallel()
	_, tables, _ := strings.Cut(read(t, "docs/security.md"), "\n## Standards\n")
	_, table, _ := strings.Cut(read(t, "README.md"), "\n## Why this one\n")
	inREADME := regexp.MustCompile(`\[(Test[A-Z]\w*|[a-z ]+/[a-z ,]+)\]\(([^)]+)\)`).FindAllStringSubmatch(table, -1)
	require.Greater(t, len(inREADME), 8)
	for _, match := range inREADME {
		assert.Contains(t, read(t, match[2]), match[1], "README.md: the link %s", match[0])
	}
	exist := make(map[string]bool)
	definition := regexp.MustCompile(`(?m)^func ((?:Test|Example)\w+)\(|\bname: +"([a-z ]+/[^"]+)"`)
	for _, name := range files(t, ".go") {
		if isRule := path.Dir(name) == "storetest"; isRule == strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, match := range definition.FindAllStringSubmatch(read(t, name), -1) {
			exist[match[1]+match[2]] = true
		}
	}
	named := regexp.MustCompile("`((?:Test|Example)[A-Z]\\w*|[a-z ]+/[a-z ,]+)`").FindAllStringSubmatch(tables, -1)
	require.Greater(t, len(named), 50)
	for _, match := range named {
		assert.True(t, exist[match[1]], "there is no test %s", match[1])
	}
}
