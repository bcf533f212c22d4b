// Package template has an app that renders pages with flamego/template. It stands
// apart because the newest Flamego does not compile flamego/template v1.2.2.
package template

import (
	"io"
	"net/http"
	"testing"

	"github.com/flamego/flamego"
	"github.com/flamego/template"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/apps"
	"github.com/flamego/session/internal/testing/webapp"
)

// A page shows what is in the session and the flash. What its handler sets is saved
// before its first byte. If that fails, the page is a 500, or, where the renderer took
// its writer before the sessions, it is broken off.
func TestTemplate(t *testing.T) {
	sessions := func() flamego.Handler {
		return session.Sessioner(session.Options{
			Initer: session.FileIniter(),
			Config: session.FileConfig{RootDir: t.TempDir()},
		})
	}
	for name, handlers := range map[string][]flamego.Handler{
		"before the sessions": {template.Templater(), sessions()},
		"after the sessions":  {sessions(), template.Templater()},
	} {
		t.Run(name, func(t *testing.T) {
			f := flamego.NewWithLogger(io.Discard)
			f.Use(handlers...)
			f.Get("/", func(t template.Template, data template.Data, s session.Session, flash session.Flash) {
				data["Name"], data["Flash"] = s.Get("name"), flash
				t.HTML(http.StatusOK, "page")
			})
			f.Get("/save", func(t template.Template, data template.Data, s session.Session) {
				s.Set("name", "alice")
				s.SetFlash("is saved")
				data["Name"] = "alice"
				t.HTML(http.StatusOK, "page")
			})
			f.Get("/fail", func(t template.Template, s session.Session) {
				s.Set("name", func() {})
				t.HTML(http.StatusOK, "page")
			})
			address := apps.Serve(t, f)
			b := webapp.Connect(t, address)
			apps.Get(t, b, "/save", "<p>alice </p>\n")
			require.NotEmpty(t, b.Cookie)
			apps.Get(t, b, "/", "<p>alice is saved</p>\n")
			apps.Get(t, b, "/", "<p>alice </p>\n")

			resp, err := http.Get(address + "/fail")
			if err == nil {
				defer resp.Body.Close()
				_, err = io.ReadAll(resp.Body)
			}
			if name == "before the sessions" {
				require.ErrorContains(t, err, "reset by peer")
				return
			}
			require.NoError(t, err)
			require.Equal(t, http.StatusInternalServerError, resp.StatusCode)
		})
	}
}
