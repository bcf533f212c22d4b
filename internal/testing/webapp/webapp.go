// Package webapp is what tests drive apps with. An App is a Flamego app with
// sessions; a Browser visits an app of any kind, with or without a network, and
// keeps its cookie.
//
// Drivers of their own have package storetest, which others import and which
// therefore needs the standard library only, the benchmarks, whose visitor is part of
// what they measure, and the examples that documentation shows.
package webapp

import (
	"compress/gzip"
	"crypto/tls"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// App is a Flamego app whose first middleware is that of its sessions.
type App struct {
	*flamego.Flame
	*session.Manager

	mu   sync.Mutex
	errs []error
}

// New returns an app that is closed at the end of the test.
func New(t testing.TB, opts session.Options) *App {
	t.Helper()
	a, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// Open returns an app that its caller closes, or the error of session.New.
func Open(opts session.Options) (*App, error) {
	a := &App{Flame: flamego.NewWithLogger(io.Discard)}
	if opts.ErrorFunc == nil {
		opts.ErrorFunc = func(err error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.errs = append(a.errs, err)
		}
	}
	var err error
	if a.Manager, err = session.New(opts); err != nil {
		return nil, err
	}
	a.Use(a.Handler())
	return a, nil
}

// TakeErrors returns the errors that were reported since it was last called, unless
// the options say to whom they are reported.
func (a *App) TakeErrors() []error {
	a.mu.Lock()
	defer a.mu.Unlock()
	errs := a.errs
	a.errs = nil
	return errs
}

// Browser makes one request after the other.
type Browser struct {
	// Cookie is what it sends, "name=value". A response that sets a cookie replaces
	// it, one that expires it leaves none.
	Cookie string

	t      testing.TB
	app    http.Handler
	server *url.URL // where there is a network
	client *http.Client
}

// NewBrowser returns a browser that calls the app.
func NewBrowser(t testing.TB, app http.Handler) *Browser {
	return &Browser{t: t, app: app}
}

// Connect returns a browser with a connection of its own to the app at a URL. It
// takes HTTP/2 where it is offered, and follows no redirects.
func Connect(t testing.TB, server string) *Browser {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2:  true,
		DisableCompression: true,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &Browser{t: t, server: u, client: &http.Client{
		Transport:     tr,
		Timeout:       30 * time.Second, // a deadlock
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Get requests a page.
func (b *Browser) Get(path string) *httptest.ResponseRecorder {
	b.t.Helper()
	return b.Do(httptest.NewRequest(http.MethodGet, path, nil))
}

// Form returns the request of a form.
func Form(path, form string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// Do makes a request of package httptest, and returns the response, uncompressed if
// it came through a network.
func (b *Browser) Do(r *http.Request) *httptest.ResponseRecorder {
	b.t.Helper()
	w := httptest.NewRecorder()
	if b.server == nil {
		b.addCookie(r)
		b.app.ServeHTTP(w, r)
		b.keepCookie(w.Result())
		return w
	}
	resp := b.open(r)
	defer resp.Body.Close()
	body := io.Reader(resp.Body)
	if resp.Header.Get("Content-Encoding") == "gzip" {
		gz, err := gzip.NewReader(body)
		if err != nil {
			b.t.Fatal(err)
		}
		body = gz
	}
	if _, err := w.Body.ReadFrom(body); err != nil {
		b.t.Fatal(err)
	}
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	return w
}

// Open requests a page through a network, and returns when its header is there.
func (b *Browser) Open(path string) *http.Response {
	b.t.Helper()
	return b.open(httptest.NewRequest(http.MethodGet, path, nil))
}

func (b *Browser) open(r *http.Request) *http.Response {
	b.t.Helper()
	b.addCookie(r)
	r.URL.Scheme, r.URL.Host = b.server.Scheme, b.server.Host
	r.Host, r.RequestURI = "", ""
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	b.keepCookie(resp)
	return resp
}

func (b *Browser) addCookie(r *http.Request) {
	if b.Cookie != "" {
		r.Header.Set("Cookie", b.Cookie)
	}
}

func (b *Browser) keepCookie(resp *http.Response) {
	for _, c := range resp.Cookies() {
		if b.Cookie = ""; c.MaxAge >= 0 {
			b.Cookie = c.Name + "=" + c.Value
		}
	}
}
