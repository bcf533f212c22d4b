package browser

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestScreenshots takes the pictures of the README: docs/login.png and docs/login-dark.png. "make
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
	b.signUp(app.url, "alice", false)
	for _, agent := range []string{
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
	} {
		other := newProfile(t)
		call(other, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: agent})
		other.signIn(app.url, "alice")
	}
	b.goTo(app.url + "/devices")
	for _, name := range []string{"Chrome on", "Safari on iPhone", "Firefox on Windows", "this device"} {
		require.Contains(t, b.text(), name)
	}
	const width, scale = 760, 2
	for scheme, file := range map[string]string{"light": "login.png", "dark": "login-dark.png"} {
		b.look(scheme, width, 100) // less than the page needs, which is then as high as its content
		height := eval[int](b, `document.documentElement.scrollHeight`)
		b.look(scheme, width, int64(height))
		shot := b.shoot(filepath.Join(dir, file), page.CaptureScreenshotParams{
			Clip: &page.Viewport{Width: width, Height: float64(height), Scale: scale},
		})
		img, err := png.Decode(bytes.NewReader(shot))
		require.NoError(t, err)
		assert.Equal(t, image.Rect(0, 0, scale*width, scale*height), img.Bounds())
		assert.Less(t, height, width)
		assert.Less(t, len(shot), 150_000)
		r, _, _, _ := img.At(5, scale*height/2).RGBA()
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
			b.shoot(filepath.Join(all, name+map[int64]string{390: "-narrow"}[look.width]+".png"), page.CaptureScreenshotParams{})
		}
	})
}

// shoot writes what the window shows to a file.
func (b *tab) shoot(file string, params page.CaptureScreenshotParams) []byte {
	b.Helper()
	shot := call(b, page.CaptureScreenshot, params).Data
	require.NoError(b, os.WriteFile(file, shot, 0o600))
	return shot
}
