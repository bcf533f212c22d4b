package session_test

import (
	"os/exec"
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
	for _, pattern := range []string{"./postgres", "./mysql", "./sqlite", "./redis", "./mongo", "./storetest"} {
		for _, pkg := range deps(t, pattern) {
			require.NotContains(t, pkg, "stretchr/testify", pattern)
			require.NotContains(t, pkg, "flamego/csrf", pattern)
		}
	}
}
