package session_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// deps returns the packages that a build of the pattern links.
func deps(t *testing.T, pattern string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", pattern).CombinedOutput()
	require.NoError(t, err, string(out))
	return strings.Fields(string(out))
}

// A user of the root package links Flamego and no database driver; a user of
// any package links no test library.
func TestImports(t *testing.T) {
	const module = "github.com/flamego/session"
	for _, pkg := range deps(t, ".") {
		switch {
		case strings.HasPrefix(pkg, module+"/"):
			require.Contains(t, pkg, "/internal/", "the root package imports a package of its users")
		case strings.HasPrefix(pkg, "go.mongodb.org/"), strings.HasPrefix(pkg, "modernc.org/"), strings.HasPrefix(pkg, "github.com/jackc/"),
			strings.HasPrefix(pkg, "github.com/go-redis/"), strings.HasPrefix(pkg, "github.com/go-sql-driver/"), pkg == "database/sql":
			t.Errorf("the root package links %s", pkg)
		}
	}
	for _, pattern := range []string{"./postgres", "./postgres/anydriver", "./mysql", "./sqlite", "./redis", "./redis/anyclient", "./mongo", "./storetest", "./sessiontest"} {
		for _, pkg := range deps(t, pattern) {
			require.NotContains(t, pkg, "stretchr/testify", pattern)
			require.NotContains(t, pkg, "/internal/testing", pattern)
		}
	}
}

// Package anydriver links no driver, so that an app has only its own.
func TestAnydriverLinksNoDriver(t *testing.T) {
	for _, pkg := range deps(t, "./postgres/anydriver") {
		require.NotRegexp(t, `pgx|pgconn|pgproto|lib/pq|sqlite|/mysql`, strings.ReplaceAll(pkg, "sqlstore/", ""))
	}
}

// Whoever has a client of Redis links no other one.
func TestAnyClientLinksNone(t *testing.T) {
	for _, pkg := range deps(t, "./redis/anyclient") {
		require.NotContains(t, pkg, "go-redis")
		require.NotEqual(t, "github.com/flamego/session/redis", pkg)
	}
}

// The go.mod chooses no version of other middleware for an app: that would be the newest
// for whoever has an older one. What only tests need of others is in internal/testing/apps.
func TestGoModNamesNoMiddleware(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	flamego := regexp.MustCompile(`github\.com/flamego/\w+`).FindAllString(string(text), -1)
	require.Equal(t, []string{"github.com/flamego/session", "github.com/flamego/flamego"}, flamego)
}

// Imports point one way, as docs/design.md draws them: mechanisms below internal/ know
// neither the root nor each other, but for what is listed here.
func TestImportsPointDown(t *testing.T) {
	const module = "github.com/flamego/session"
	knows := map[string][]string{
		"/internal/commit":                 {"/internal/backoff", "/internal/deadline", "/internal/state"},
		"/internal/state":                  {"/internal/gobmap"},
		"/internal/clock":                  nil,
		"/internal/expiring":               nil,
		"/internal/faults":                 nil,
		"/internal/gobmap":                 nil,
		"/internal/history":                {""},
		"/internal/atomicfile":             nil,
		"/internal/filelock":               nil,
		"/internal/deadline":               nil,
		"/internal/liveness":               nil,
		"/internal/backoff":                nil,
		"/internal/redact":                 nil,
		"/internal/ttl":                    nil,
		"/internal/visit":                  nil,
		"/internal/together":               {"/internal/deadline"},
		"/internal/starting":               {"/internal/deadline"},
		"/internal/sqlstore/pgdialect":     {"/internal/sqlstore"},
		"/internal/sqlstore/sqlitedialect": {"/internal/sqlstore"},
		"/internal/sqlstore": {
			"/internal/starting", "", "/internal/backoff", "/internal/deadline", "/internal/liveness", "/internal/redact", "/internal/together",
			"/internal/ttl",
		},
	}
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}: {{join .Imports \" \"}}", "./internal/...").CombinedOutput()
	require.NoError(t, err, string(out))
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(line, ":")
		pkg = strings.TrimPrefix(pkg, module)
		if strings.HasPrefix(pkg, "/internal/testing") || strings.HasPrefix(pkg, "/internal/faults") || pkg == "/internal/sqlstore/sqltest" {
			continue
		}
		allowed, known := knows[pkg]
		require.True(t, known, "the package %s is in no list", pkg)
		for imported := range strings.FieldsSeq(imports) {
			if own, ok := strings.CutPrefix(imported, module); ok {
				require.Contains(t, allowed, own, pkg)
			}
		}
	}
}
