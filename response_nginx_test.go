package session_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/testing/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// A client behind nginx sees an error, too, and not a page that nginx has made whole.
func TestLateFailureBehindNginx(t *testing.T) {
	nginx := testserver.Nginx(t)
	for _, way := range []string{"http10", "http10-unbuffered", "http10-tls", "http11", "http11-unbuffered"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			a := newLateApp(t)
			server := httptest.NewUnstartedServer(a)
			if way == "http10-tls" {
				server.StartTLS()
			} else {
				server.Start()
			}
			t.Cleanup(server.Close)
			u, err := url.Parse(server.URL)
			require.NoError(t, err)
			client := &http.Client{
				Transport:     &http.Transport{DisableKeepAlives: true},
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}
			get := func(name string) (status int, body string, err error) {
				resp, err := client.Get(nginx + "/" + way + "/" + u.Port() + "/" + name)
				if err != nil {
					return 0, "", err
				}
				defer func() { _ = resp.Body.Close() }()
				all, err := io.ReadAll(resp.Body)
				return resp.StatusCode, string(all), err
			}
			for range 10 {
				for name, l := range latePages {
					a.on.Store(false)
					a.TakeErrors()
					status, body, err := get(name)
					if !l.shown || err == nil {
						// nginx has seen nothing that it could pass on.
						require.NoError(t, err, name)
						require.Equal(t, http.StatusBadGateway, status, "%s: %.100s", name, body)
					}
					require.Len(t, a.TakeErrors(), 1, name)
				}
			}
			a.on.Store(false)
			status, body, err := get("set")
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, "ok", body)
		})
	}
}
