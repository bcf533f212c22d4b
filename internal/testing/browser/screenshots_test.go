package browser

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The home page can be shown in the README: docs/login.png and docs/login-dark.png. "make
// screenshots" sets SCREENSHOTS to docs, which writes them there. SCREENSHOTS_ALL names a folder
// for all pages in all looks, to be looked at.
func TestScreenshots(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	app := freshLogin(t)
	b := newProfile(t)
	b.signUp(app.url, "alice", true)
	for scheme, file := range map[string]string{"light": "login.png", "dark": "login-dark.png"} {
		b.look(scheme, 1280, 800)
		shot := b.shoot(filepath.Join(dir, file))
		img, err := png.Decode(bytes.NewReader(shot))
		require.NoError(t, err)
		assert.Equal(t, image.Rect(0, 0, 1280, 800), img.Bounds())
		assert.Less(t, len(shot), 150_000)
		r, _, _, _ := img.At(5, 400).RGBA()
		assert.Equal(t, scheme == "light", r > 0x8000)
	}
	all := os.Getenv("SCREENSHOTS_ALL")
	if all == "" {
		return
	}
	require.NoError(t, os.MkdirAll(all, 0o755))
	onEachPage(t, freshLogin(t), func(b *tab, name string) {
		for _, look := range looks {
			b.look(look.scheme, look.width, 800)
			name := strings.NewReplacer(" ", "-", ",", "").Replace(name) + "-" + look.scheme
			b.shoot(filepath.Join(all, name+map[int64]string{390: "-narrow"}[look.width]+".png"))
		}
	})
}

// shoot writes what the window shows to a file.
func (b *tab) shoot(file string) []byte {
	b.Helper()
	shot, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	require.NoError(b, err)
	require.NoError(b, os.WriteFile(file, shot, 0o600))
	return shot
}
