package docs

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	links = regexp.MustCompile(strings.Join([]string{
		`\]\(<?([^)\s>]+)[^)]*\)`,          // [text](target "title"), an image too
		`^ *\[[^\]]+\]: *<?([^\s>]+)`,      // [name]: target
		`(?:href|src|srcset)="([^"]+)"`,    // <a href="target">, <img src="target">
		`(?:^|[\s<(])(https?://[^\s<>)]+)`, // https://...
	}, "|"))
	heading    = regexp.MustCompile(`^#{1,6} +(.*?)(?: +#+)?$`)
	explicitID = regexp.MustCompile(`<[^>]+ (?:id|name)="([^"]+)"`)
	linkText   = regexp.MustCompile(`!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])`)
)

// ours is where people see this repository.
var ours = regexp.MustCompile(`^https://(?:github\.com/flamego/session/(?:blob|tree|raw)|raw\.githubusercontent\.com/flamego/session)/main/`)

// Links of all pages lead somewhere: to a file or folder, and to a heading of a page.
func TestLinks(t *testing.T) {
	t.Parallel()
	found := 0
	for _, p := range pages(t) {
		for i, line := range p.withoutCode() {
			for _, match := range links.FindAllStringSubmatch(line, -1) {
				found++
				target := strings.TrimRight(match[1]+match[2]+match[3]+match[4], ".,;:")
				assert.NoError(t, checkLink(p.name, target), "%s:%d: the link %s", p.name, i+1, target)
			}
		}
	}
	assert.Greater(t, found, 50)
}

// checkLink checks a link of a page. What is elsewhere is not asked.
func checkLink(page, target string) error {
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	file := path.Join(path.Dir(page), u.Path)
	switch at := ours.FindString(target); {
	case at != "":
		file = strings.TrimPrefix(u.Path, "/"+strings.SplitN(at, "/", 4)[3])
	case u.Scheme == "https" && strings.Contains(u.Host, "."), u.Scheme == "http" && u.Hostname() == "localhost":
		return nil
	case u.Scheme != "" || u.Host != "":
		return fmt.Errorf("is not https")
	case u.Path == "":
		file = page
	}
	info, err := os.Stat(filepath.Join(root, file))
	if err != nil || u.Fragment == "" {
		return err
	}
	if info.IsDir() || path.Ext(file) != ".md" {
		return fmt.Errorf("only pages have headings")
	}
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return err
	}
	if !anchors(newPage(file, string(text)))[u.Fragment] {
		return fmt.Errorf("%s has no heading for #%s", file, u.Fragment)
	}
	return nil
}

// anchors are the headings of a page in the form that GitHub gives them.
func anchors(p page) map[string]bool {
	all := make(map[string]bool)
	for _, line := range p.prose {
		for _, match := range explicitID.FindAllStringSubmatch(line, -1) {
			all[match[1]] = true
		}
		match := heading.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		text := linkText.ReplaceAllString(match[1], "$1")
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			default:
				return -1
			}
		}, text)
		for n, again := 1, anchor; all[anchor]; n++ {
			anchor = fmt.Sprint(again, "-", n)
		}
		all[anchor] = true
	}
	return all
}

func TestAnchors(t *testing.T) {
	text := "# A `Config` of [yours](x.md), isn't it?\n## Same_one\n## Same_one\n## 会话\n<a id=\"x\"></a>\n```\n# code\n```\n"
	assert.Equal(t, map[string]bool{
		"a-config-of-yours-isnt-it": true, "same_one": true, "same_one-1": true, "会话": true, "x": true,
	}, anchors(newPage("x.md", text)))
}

func TestCheckLink(t *testing.T) {
	for target, want := range map[string]string{
		"../README.md": "", "examples": "", "scaling.md": "", "https://flamego.dev/x#y": "", "http://localhost:2830": "",
		"https://github.com/flamego/session/blob/main/docs/design.md": "",
		"#no-such-heading":   "docs/guide.md has no heading for #no-such-heading",
		"scaling.md#nowhere": "docs/scaling.md has no heading for #nowhere",
		"no-such-page.md":    "no such file",
		"examples#cart":      "only pages have headings",
		"http://flamego.dev": "is not https",
		"https://github.com/flamego/session/blob/main/nothing.md":            "no such file",
		"https://github.com/flamego/session/blob/main/docs/scaling.md#no-no": "docs/scaling.md has no heading for #no-no",
	} {
		err := checkLink("docs/guide.md", target)
		if want == "" {
			require.NoError(t, err, target)
		} else {
			require.ErrorContains(t, err, want, target)
		}
	}
}
