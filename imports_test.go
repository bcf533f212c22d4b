package session_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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

// TestDependencies lists the modules that a user of a package links beyond Flamego and its modules: the driver
// and its modules. One more needs a reason.
func TestDependencies(t *testing.T) {
	const crypto, text = "golang.org/x/crypto", "golang.org/x/text"
	// The pattern is seen from a folder, which is that of a module.
	modules := func(dir, pattern string) []string {
		cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", pattern)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		found := strings.Fields(string(out))
		slices.Sort(found)
		return slices.Compact(found)
	}
	known := append(modules(".", "github.com/flamego/flamego"), "github.com/flamego/session")
	beyond := func(dir, pattern string) []string {
		return slices.DeleteFunc(modules(dir, pattern), func(m string) bool { return slices.Contains(known, m) })
	}
	for pattern, want := range map[string][]string{
		".": nil, "./sessiontest": nil, "./storetest": nil, "./postgres/anydriver": nil, "./redis/anyclient": nil,
		"./sqlite": {
			"github.com/dustin/go-humanize", "github.com/google/uuid", "github.com/remyoudompheng/bigfft", "modernc.org/libc",
			"modernc.org/mathutil", "modernc.org/memory", "modernc.org/sqlite",
		},
		"./postgres": {
			"github.com/jackc/chunkreader/v2", "github.com/jackc/pgconn", "github.com/jackc/pgio", "github.com/jackc/pgpassfile",
			"github.com/jackc/pgproto3/v2", "github.com/jackc/pgservicefile", "github.com/jackc/pgtype", "github.com/jackc/pgx/v4",
			crypto, text,
		},
		"./mysql": {"filippo.io/edwards25519", "github.com/go-sql-driver/mysql"},
		"./redis": {"github.com/cespare/xxhash/v2", "github.com/dgryski/go-rendezvous", "github.com/go-redis/redis/v8"},
		"./mongo": {
			"github.com/golang/snappy", "github.com/klauspost/compress", "github.com/montanaflynn/stats", "github.com/xdg-go/pbkdf2",
			"github.com/xdg-go/scram", "github.com/xdg-go/stringprep", "github.com/youmark/pkcs8", "go.mongodb.org/mongo-driver",
			crypto, "golang.org/x/sync", text,
		},
	} {
		require.ElementsMatch(t, want, beyond(".", pattern), pattern)
	}
	// No SDK of OpenTelemetry, which is for the app to choose.
	require.ElementsMatch(t, []string{
		"github.com/flamego/session/otel", "github.com/cespare/xxhash/v2", "github.com/go-logr/logr", "github.com/go-logr/stdr",
		"go.opentelemetry.io/auto/sdk", "go.opentelemetry.io/otel", "go.opentelemetry.io/otel/metric", "go.opentelemetry.io/otel/trace",
	}, beyond("otel", "."), "otel")
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

// TestNoKnownFindings: no go.mod of this repository, those of the tests too, names a release before the
// one in which the last known finding of its module is mended. SECURITY.md has the two that have none.
func TestNoKnownFindings(t *testing.T) {
	mended := map[string]string{
		"filippo.io/edwards25519":         "v1.1.1",
		"github.com/gofiber/fiber/v3":     "v3.1.0",
		"github.com/jackc/pgconn":         "v1.14.3",
		"github.com/jackc/pgx/v5":         "v5.9.2",
		"github.com/redis/go-redis/v9":    "v9.7.3",
		"go.mongodb.org/mongo-driver":     "v1.17.7",
		"go.opentelemetry.io/otel/sdk":    "v1.43.0",
		"golang.org/x/crypto":             "v0.52.0",
		"golang.org/x/image":              "v0.41.0",
		"golang.org/x/net":                "v0.55.0",
		"golang.org/x/text":               "v0.39.0",
		"google.golang.org/grpc":          "v1.79.3",
		"google.golang.org/protobuf":      "v1.33.0",
		"gopkg.in/yaml.v3":                "v3.0.1",
		"github.com/gorilla/securecookie": "v1.1.2",
		"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp": "v1.43.0",
	}
	require.Negative(t, compareVersions(t, "v0.9.2", "v0.10.0"))
	require.Positive(t, compareVersions(t, "v1.0.0", "v0.99.9-0.20260101000000-0123456789ab"))
	line := regexp.MustCompile(`(?m)^(?:require)?\s+(\S+) (v\S+)`)
	files := 0
	require.NoError(t, filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Base(path) != "go.mod" {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		lines := line.FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, lines, path)
		for _, l := range lines {
			if least, ok := mended[l[1]]; ok && compareVersions(t, l[2], least) < 0 {
				t.Errorf("%s: %s %s has a known finding, %s has none", path, l[1], l[2], least)
			}
		}
		return err
	}))
	require.Greater(t, files, 5)
}

func compareVersions(t *testing.T, a, b string) int {
	t.Helper()
	numbers := func(version string) (n [3]int) {
		_, err := fmt.Sscanf(version, "v%d.%d.%d", &n[0], &n[1], &n[2])
		require.NoError(t, err, version)
		return n
	}
	x, y := numbers(a), numbers(b)
	return slices.Compare(x[:], y[:])
}

// Imports point one way, as docs/design.md draws them: mechanisms below internal/ know
// neither the root nor each other, but for what is listed here.
func TestImportsPointDown(t *testing.T) {
	const module = "github.com/flamego/session"
	knows := map[string][]string{
		"/internal/attempts":               nil,
		"/internal/commit":                 {"/internal/backoff", "/internal/deadline", "/internal/state"},
		"/internal/state":                  {"/internal/gobmap"},
		"/internal/clock":                  nil,
		"/internal/expiring":               nil,
		"/internal/faults":                 nil,
		"/internal/gobmap":                 nil,
		"/internal/history":                {"", "/internal/state"},
		"/internal/atomicfile":             nil,
		"/internal/filelock":               nil,
		"/internal/deadline":               nil,
		"/internal/liveness":               nil,
		"/internal/backoff":                nil,
		"/internal/redact":                 nil,
		"/internal/seal":                   nil,
		"/internal/ttl":                    nil,
		"/internal/visit":                  nil,
		"/internal/together":               {"/internal/deadline"},
		"/internal/starting":               {"/internal/deadline"},
		"/internal/sqlstore/pgdialect":     {"/internal/sqlstore"},
		"/internal/sqlstore/sqlitedialect": {"/internal/sqlstore"},
		"/internal/sqlstore": {
			"/internal/attempts", "/internal/starting", "", "/internal/backoff", "/internal/deadline", "/internal/liveness", "/internal/redact", "/internal/together",
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
