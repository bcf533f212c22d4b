// Package visitor is a browser for the tests of these examples: it keeps all cookies, and
// follows redirects. (Package webapp of the library keeps one cookie.)
package visitor

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Serve runs an app with TLS until the end of the test.
func Serve(t testing.TB, app http.Handler) *httptest.Server {
	server := httptest.NewTLSServer(app)
	t.Cleanup(server.Close)
	return server
}

// Answer is a response that was read.
type Answer struct {
	*http.Response
	Body string
}

// Visitor makes requests. Servers of one host share its cookies, as they do in browsers.
type Visitor struct {
	t      testing.TB
	client *http.Client
}

// New returns a visitor that keeps cookies, and has those.
func New(t testing.TB, server *httptest.Server, cookies ...*http.Cookie) *Visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	jar.SetCookies(u, cookies)
	return &Visitor{t: t, client: &http.Client{
		Transport: server.Client().Transport,
		Jar:       jar,
		Timeout:   30 * time.Second, // a deadlock
	}}
}

// Get requests a page.
func (v *Visitor) Get(server *httptest.Server, path string) Answer {
	v.t.Helper()
	return v.Do(v.request(http.MethodGet, server, path, ""))
}

// Post sends a form.
func (v *Visitor) Post(server *httptest.Server, path, form string) Answer {
	v.t.Helper()
	r := v.request(http.MethodPost, server, path, form)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return v.Do(r)
}

// Do makes a request.
func (v *Visitor) Do(r *http.Request) Answer {
	v.t.Helper()
	resp, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return Answer{Response: resp, Body: string(body)}
}

// Client returns the client of the visitor.
func (v *Visitor) Client() *http.Client { return v.client }

// GetOnce requests a page and follows no redirect. It may be called on any goroutine, and tells the
// status, or 0.
func (v *Visitor) GetOnce(server *httptest.Server, path string) int {
	client := *v.client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Get(server.URL + path)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// Cookie returns the cookie of a name, or nil if the visitor has none.
func (v *Visitor) Cookie(server *httptest.Server, name string) *http.Cookie {
	v.t.Helper()
	u, err := url.Parse(server.URL)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, cookie := range v.client.Jar.Cookies(u) {
		if cookie.Name == name {
			return cookie
		}
	}
	return nil
}

func (v *Visitor) request(method string, server *httptest.Server, path, body string) *http.Request {
	v.t.Helper()
	r, err := http.NewRequest(method, server.URL+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	return r
}
