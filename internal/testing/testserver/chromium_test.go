package testserver

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestFindChromium(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	debian, ubuntu := write("debian", "NAME=\"Debian\"\nID=debian\n"), write("ubuntu", "ID_LIKE=\"ubuntu debian\"\nID=mint\n")
	snap := write("snap", "")
	t.Setenv("PATH", t.TempDir())
	t.Setenv(ChromiumVariable, "")
	fails := func(release, want string) {
		t.Helper()
		if path, err := findChromium(release, dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q %v, want %q", path, err, want)
		}
	}
	fails(debian, "apt-get install chromium")
	fails(ubuntu, "google.com/chrome")
	fails(filepath.Join(dir, "none"), "apt-get install chromium")

	if err := os.Symlink(snap, filepath.Join(dir, "chromium")); err != nil {
		t.Fatal(err)
	}
	fails(ubuntu, "google.com/chrome")
	chrome := write("google-chrome", "")
	if path, err := findChromium(ubuntu, dir); path != chrome || err != nil {
		t.Error(path, err)
	}

	t.Setenv(ChromiumVariable, snap)
	if path, err := findChromium(debian, dir); path != snap || err != nil {
		t.Error(path, err)
	}
	t.Setenv(ChromiumVariable, filepath.Join(dir, "none"))
	fails(debian, "the variable CHROMIUM")
}

// Without Chromium a test is skipped, and fails with CI=true. With a wrong CHROMIUM it fails.
func TestChromiumMissing(t *testing.T) {
	ask := func() *fake {
		f := new(fake)
		var wg sync.WaitGroup
		wg.Go(func() { needed(f, "", errMissing) })
		wg.Wait()
		return f
	}
	t.Setenv("CI", "")
	if f := ask(); f.skipped == "" || f.failed != "" {
		t.Errorf("%+v", f)
	}
	t.Setenv("CI", "true")
	if f := ask(); f.skipped != "" || f.failed == "" {
		t.Errorf("%+v", f)
	}
	t.Setenv("CI", "")
	t.Setenv(ChromiumVariable, filepath.Join(t.TempDir(), "none"))
	f := new(fake)
	var wg sync.WaitGroup
	wg.Go(func() { Chromium(f) })
	wg.Wait()
	if f.skipped != "" || f.failed == "" {
		t.Errorf("%+v", f)
	}
}
