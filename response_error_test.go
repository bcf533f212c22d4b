package session_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// pageHeaders tell of the page that the 500 replaces.
var pageHeaders = strings.Fields(`
	Content-Disposition Content-Encoding Content-Language Content-Location Content-Range Content-MD5
	Content-Digest Repr-Digest Digest Want-Digest Content-Transfer-Encoding Content-Style-Type Content-Dpr
	Etag Last-Modified Expires Age Pragma Warning Cache-Control Cache-Status Cache-Tag Accept-Ranges
	CDN-Cache-Control Cloudflare-CDN-Cache-Control Vercel-CDN-Cache-Control Netlify-CDN-Cache-Control Edge-Control
	Surrogate-Control Surrogate-Key No-Vary-Search
	X-Accel-Redirect X-Accel-Expires X-Accel-Buffering X-Accel-Charset X-Accel-Limit-Rate
	X-Sendfile X-LiteSpeed-Location X-Reproxy-URL
	Location Refresh Link Allow Retry-After WWW-Authenticate Authentication-Info Proxy-Authenticate
	Upgrade Keep-Alive Trailer SourceMap X-SourceMap Clear-Site-Data Service-Worker-Allowed Speculation-Rules
	HX-Redirect HX-Location HX-Refresh HX-Trigger HX-Push-Url Turbo-Location X-Inertia-Location X-Up-Location
	X-Total-Count X-Of-The-App Sec-WebSocket-Accept Grpc-Status
`)

// siteHeaders tell of the site, the client, the connection or the request.
var siteHeaders = strings.Fields(`
	Server Via Alt-Svc X-Powered-By
	Access-Control-Allow-Origin Access-Control-Allow-Credentials Access-Control-Expose-Headers Timing-Allow-Origin
	Strict-Transport-Security Content-Security-Policy Content-Security-Policy-Report-Only
	Cross-Origin-Opener-Policy Cross-Origin-Embedder-Policy Cross-Origin-Resource-Policy
	Cross-Origin-Opener-Policy-Report-Only Cross-Origin-Embedder-Policy-Report-Only Origin-Agent-Cluster
	Permissions-Policy Permissions-Policy-Report-Only Referrer-Policy
	X-Frame-Options X-XSS-Protection X-DNS-Prefetch-Control X-Permitted-Cross-Domain-Policies X-Robots-Tag
	NEL Report-To Reporting-Endpoints Server-Timing
	X-Request-Id X-Correlation-Id X-Trace-Id Traceparent Tracestate X-B3-Traceid
	RateLimit RateLimit-Policy RateLimit-Remaining X-RateLimit-Limit X-Rate-Limit-Reset
`)

// setAll sets the headers, by their usual names or by raw ones in lower case. All are
// set by the app, so that one that stays has its value.
func setAll(h http.Header, raw bool, names []string) {
	for _, name := range names {
		if raw {
			h[strings.ToLower(name)] = []string{"app"}
		} else {
			h.Set(name, "app")
		}
	}
}

// The 500 has the headers that tell of the site, the client, the connection or the
// request, and none that may tell of the page that is not sent, whoever has set it
// and whenever.
func TestErrorHeaders(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for _, raw := range []bool{false, true} {
			for _, where := range []string{"middleware before", "middleware after", "handler", "hook", "load"} {
				t.Run(fmt.Sprintf("http2 %t, raw %t, %s", http2, raw, where), func(t *testing.T) {
					t.Parallel()
					set := func(h http.Header) {
						setAll(h, raw, pageHeaders)
						setAll(h, raw, siteHeaders)
						h["Vary"] = []string{"Accept-Encoding", "Origin"}
						h.Add("Set-Cookie", "other=1")
						h.Set("X-Content-Type-Options", "app")
						h.Set(http.TrailerPrefix+"Set-Cookie", "app")
						h.Set("Content-Type", "image/png")
						h.Set("Content-Length", "1")
					}
					at := func(here string) flamego.Handler {
						return func(c flamego.Context) {
							if where == here {
								set(c.ResponseWriter().Header())
							}
						}
					}
					a, o := newOutageApp(t, session.Options{})
					a.Handlers(at("middleware before"), at("load"), a.Handler(), at("middleware after"))
					a.Get("/", func(c flamego.Context, s session.Session) string {
						if where == "hook" {
							c.ResponseWriter().Before(func(w flamego.ResponseWriter) { set(w.Header()) })
						}
						at("handler").(func(flamego.Context))(c)
						s.Set("key", 1)
						o.on.Store(true)
						return "a page"
					})
					server := a.serve(t, http2)
					r, err := http.NewRequest(http.MethodGet, server.URL, nil)
					require.NoError(t, err)
					r.Header.Set("Cookie", a.visit(func(s session.Session) { s.Set("key", 0) }))
					o.on.Store(where == "load")
					resp, err := server.Client().Do(r)
					require.NoError(t, err)
					body, err := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					require.NoError(t, err)
					require.Equal(t, http.StatusInternalServerError, resp.StatusCode)
					require.Equal(t, "Internal Server Error\n", string(body))
					require.Empty(t, resp.Trailer)

					want := http.Header{
						"Vary":                   {"Accept-Encoding", "Origin", "Cookie"},
						"Set-Cookie":             {"other=1"},
						"Content-Type":           {"text/plain; charset=utf-8"},
						"Content-Length":         {"22"},
						"X-Content-Type-Options": {"nosniff"},
					}
					setAll(want, false, siteHeaders)
					got := resp.Header.Clone()
					require.NotEmpty(t, got.Get("Date"))
					got.Del("Date")
					require.Equal(t, want, got)
				})
			}
		}
	}
}

// What ends the connection stays, and what changes its protocol does not.
func TestErrorHeaderConnection(t *testing.T) {
	for value, want := range map[string]string{
		"close": "close", "Close": "close", "Upgrade": "", "keep-alive, X-Of-The-App": "",
	} {
		a, o := newOutageApp(t, session.Options{})
		a.Get("/", func(c flamego.Context, s session.Session) string {
			c.ResponseWriter().Header().Set("Connection", value)
			s.Set("key", 1)
			o.on.Store(true)
			return "a page"
		})
		w := a.get("/")
		require.Equal(t, http.StatusInternalServerError, w.Code)
		require.Equal(t, want, w.Header().Get("Connection"))
	}
}

// A handler that goes on after the 500 adds no trailer to it.
func TestErrorHasNoTrailer(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		a, o := newOutageApp(t, session.Options{})
		a.Get("/", func(s session.Session, w http.ResponseWriter) {
			h := w.Header()
			h.Set("Trailer", "X-Announced")
			s.Set("key", 1)
			o.on.Store(true)
			write(w, "a page")
			h.Set("X-Announced", "app")
			h.Set(http.TrailerPrefix+"X-Unannounced", "app")
			w.Header().Set(http.TrailerPrefix+"X-Digest", "app")
		})
		server := a.serve(t, http2)
		resp, err := server.Client().Get(server.URL)
		require.NoError(t, err)
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		require.NoError(t, err)
		require.Equal(t, http.StatusInternalServerError, resp.StatusCode)
		require.Empty(t, resp.Trailer)
	}
}
