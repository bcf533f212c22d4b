package testserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// ChromiumVariable names the browser to use, where it is not found by itself.
const ChromiumVariable = "CHROMIUM"

// Chromium returns the path of Chromium, or of Chrome. Unlike a server it is for the test to start.
func Chromium(t testing.TB) string {
	t.Helper()
	path, err := FindChromium()
	return needed(t, path, err)
}

// needed returns the path, or skips or fails the test as a missing server does.
func needed(t testing.TB, path string, err error) string {
	t.Helper()
	if err == nil {
		return path
	}
	if ci, _ := strconv.ParseBool(os.Getenv("CI")); errors.Is(err, errMissing) && !ci {
		t.Skip(err)
	}
	t.Fatal(err)
	return ""
}

// FindChromium returns the path of Chromium, or an error that says how to install it.
func FindChromium() (string, error) {
	return findChromium(osRelease, "/usr/bin", "/opt/google/chrome", "/usr/local/bin")
}

const osRelease = "/etc/os-release"

func findChromium(release string, folders ...string) (string, error) {
	if path := os.Getenv(ChromiumVariable); path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("testserver: the browser of the variable %s: %w", ChromiumVariable, err)
		}
		return found, nil
	}
	// A snap is no use: it sees no other temporary folder than its own.
	for _, program := range []string{"chromium", "google-chrome", "google-chrome-stable"} {
		path, ok := lookPath(program, folders...)
		if ok && !isSnap(path) {
			return path, nil
		}
	}
	if chromiumIsSnap(release) {
		return "", fmt.Errorf("testserver: Chromium is %w. That of this system is a snap, which cannot be used: "+
			"install the Debian package of Google Chrome (google.com/chrome), or any other Chromium, and name it by %s=/path",
			errMissing, ChromiumVariable)
	}
	return "", fmt.Errorf("testserver: Chromium is %w: apt-get install chromium, or %s=/path", errMissing, ChromiumVariable)
}

func isSnap(path string) bool {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return strings.HasPrefix(path, "/snap/") || filepath.Base(path) == "snap"
}

// chromiumIsSnap reports whether the system is Ubuntu, or made of it, whose package of Chromium
// installs a snap. The file says which system it is.
func chromiumIsSnap(file string) bool {
	release, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(release)) {
		key, val, _ := strings.Cut(strings.TrimSpace(line), "=")
		if (key == "ID" || key == "ID_LIKE") && strings.Contains(val, "ubuntu") {
			return true
		}
	}
	return false
}
