package session_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// addDoors makes a route of every door.
func (a *app) addDoors(change changer) {
	before := func(c flamego.Context) {
		switch path := c.Request().URL.Path; {
		case strings.HasPrefix(path, "/gzip-before"):
			gzipped(c)
		case strings.HasPrefix(path, "/buffer-before"):
			buffered(c)
		}
	}
	a.Handlers(before, a.m.Handler())
	for _, d := range doors {
		a.Get(d.path(), d.handlers(change)...)
	}
	a.Get("/read", func(s session.Session) string { return fmt.Sprint(s.Get("key")) })
	a.Get("/set", func(s session.Session) { s.Set("key", "kept") })
}

// serve runs the app on a real server.
func (a *app) serve(t testing.TB, http2 bool) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(a)
	if server.EnableHTTP2 = http2; http2 {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server
}

// visitor is a client with a connection of its own and a cookie.
type visitor struct {
	t      testing.TB
	url    string
	client *http.Client
	cookie string
}

func newVisitor(t testing.TB, server *httptest.Server) *visitor {
	t.Helper()
	tr := &http.Transport{
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2:  server.EnableHTTP2,
		DisableCompression: true,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &visitor{t: t, url: server.URL, client: &http.Client{
		Transport:     tr,
		Timeout:       30 * time.Second, // a deadlock
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// open makes a request and returns when the header of the response is there. It
// keeps a new cookie.
func (b *visitor) open(path string) *http.Response {
	b.t.Helper()
	r, err := http.NewRequest(http.MethodGet, b.url+path, nil)
	require.NoError(b.t, err)
	if b.cookie != "" {
		r.Header.Set("Cookie", b.cookie)
	}
	resp, err := b.client.Do(r)
	require.NoError(b.t, err)
	for _, c := range resp.Cookies() {
		if b.cookie = ""; c.MaxAge >= 0 {
			b.cookie = c.Name + "=" + c.Value
		}
	}
	return resp
}

// get makes a request and returns the response with its body, uncompressed.
func (b *visitor) get(path string) (*http.Response, string) {
	b.t.Helper()
	resp := b.open(path)
	defer func() { _ = resp.Body.Close() }()
	body := io.Reader(resp.Body)
	if resp.Header.Get("Content-Encoding") == "gzip" {
		gz, err := gzip.NewReader(body)
		require.NoError(b.t, err)
		body = gz
	}
	text, err := io.ReadAll(body)
	require.NoError(b.t, err)
	return resp, string(text)
}

// slowBackend takes its time, so that a response that does not wait for its
// commit is faster.
type slowBackend struct{ session.Backend }

const slowness = 3 * time.Millisecond

func (b slowBackend) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	time.Sleep(slowness)
	return b.Backend.Insert(ctx, sid, rec)
}

func (b slowBackend) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	time.Sleep(slowness)
	return b.Backend.Swap(ctx, sid, old, rec)
}

func backendOptions(b session.Backend) session.Options {
	return session.Options{Initer: func(_ context.Context, args ...interface{}) (session.Store, error) {
		sc := session.StoreConfig{}
		for _, arg := range args {
			if w, ok := arg.(session.IDWriter); ok {
				sc.IDWriter = w
			}
		}
		return session.NewStore(b, sc), nil
	}}
}

// The moment the response begins, what the request has set is there for every
// other request, whatever way the handler answers.
func TestDoorsCommitBeforeTheFirstByte(t *testing.T) {
	for _, tt := range []struct {
		name   string
		opts   session.Options
		http2  bool
		rounds int
	}{
		// Only a slow store leaves time for a response that does not wait.
		{"slow", backendOptions(slowBackend{mapbackend.New()}), false, 300},
		{"slow http2", backendOptions(slowBackend{mapbackend.New()}), true, 30},
		{"memory", session.Options{}, false, 30},
		{"file", session.Options{Initer: session.FileIniter(), Config: session.FileConfig{RootDir: t.TempDir()}}, false, 30},
	} {
		if testing.Short() {
			tt.rounds /= 10
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, tt.opts)
			a.addDoors(func(c flamego.Context, s session.Session) { s.Set("key", c.Query("n")) })
			server := a.serve(t, tt.http2)
			for _, d := range doors {
				if d.http1 && tt.http2 {
					continue
				}
				t.Run(d.path()[1:], func(t *testing.T) {
					t.Parallel()
					b, other := newVisitor(t, server), newVisitor(t, server)
					b.get("/set")
					other.cookie = b.cookie
					for n := range tt.rounds {
						resp := b.open(fmt.Sprintf("%s?n=%d", d.path(), n))
						_, got := other.get("/read")
						if got != fmt.Sprint(n) {
							t.Errorf("round %d: the next request reads %s", n, got)
						}
						_, _ = io.Copy(io.Discard, resp.Body)
						_ = resp.Body.Close()
					}
					require.Equal(t, b.cookie, other.cookie)
				})
			}
		})
	}
}

// A stream shows at its first flush what was set before, and at its end what
// was set after.
func TestStreamCommitsAtFirstFlushAndEnd(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprint("http2 ", http2), func(t *testing.T) {
			t.Parallel()
			resume, over := make(chan struct{}), make(chan struct{})
			a := newApp(t, backendOptions(slowBackend{mapbackend.New()}))
			a.addDoors(func(flamego.Context, session.Session) {})
			a.Get("/stream", func(c flamego.Context, s session.Session, w http.ResponseWriter) {
				s.Set("key", "first "+c.Query("n"))
				write(w, "begun")
				w.(http.Flusher).Flush()
				select {
				case <-resume:
				case <-over: // the test has failed, and its server waits for us
				}
				s.Set("key", "last "+c.Query("n"))
				write(w, ", ended")
				w.(http.Flusher).Flush()
			})
			server := a.serve(t, http2)
			t.Cleanup(func() { close(over) })
			b, other := newVisitor(t, server), newVisitor(t, server)
			b.get("/set")
			other.cookie = b.cookie
			for n := range 50 {
				resp := b.open(fmt.Sprint("/stream?n=", n))
				_, got := other.get("/read")
				require.Equal(t, fmt.Sprint("first ", n), got)
				resume <- struct{}{}
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, "begun, ended", string(body))
				require.NoError(t, resp.Body.Close())
				_, got = other.get("/read")
				require.Equal(t, fmt.Sprint("last ", n), got)
			}
		})
	}
}

// A commit that fails is a 500 with a generic body through every door, with
// nothing of what the handler would have said, and no deadlock.
func TestDoorsFailedCommit(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprint("http2 ", http2), func(t *testing.T) {
			t.Parallel()
			a, o := newOutageApp(t, session.Options{Cookie: session.CookieOptions{MaxAge: 60}})
			a.addDoors(func(c flamego.Context, s session.Session) {
				h := c.ResponseWriter().Header()
				h.Set("ETag", `"1"`)
				h.Set("Cache-Control", "public, max-age=3600")
				h.Set("Expires", "Fri, 01 Jan 2100 00:00:00 GMT")
				s.Set("key", "changed")
				o.on.Store(true)
			})
			server := a.serve(t, http2)
			for _, d := range doors {
				t.Run(d.path()[1:], func(t *testing.T) {
					o.on.Store(false)
					a.errs.take()
					b := newVisitor(t, server)
					b.get("/set")
					resp, body := b.get(d.path())
					require.Equal(t, http.StatusInternalServerError, resp.StatusCode)
					require.Equal(t, "Internal Server Error\n", body)
					for _, name := range []string{"Set-Cookie", "ETag", "Location", "Last-Modified", "Cache-Control", "Expires"} {
						require.Empty(t, resp.Header.Values(name), name)
					}
					require.Len(t, a.errs.take(), 1)
					o.on.Store(false)
					_, got := b.get("/read")
					require.Equal(t, "kept", got)

					// A new visitor gets no ID for what is not there.
					resp, body = newVisitor(t, server).get(d.path())
					o.on.Store(false)
					require.Equal(t, http.StatusInternalServerError, resp.StatusCode)
					require.Equal(t, "Internal Server Error\n", body)
					require.Empty(t, resp.Header.Values("Set-Cookie"))
					require.Len(t, a.errs.take(), 1)
				})
			}
		})
	}
}

// A response that has begun when the commit fails is broken off, whatever
// recovers from panics on the way.
func TestLateFailureBreaksOff(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for _, recovery := range []string{"none", "before", "after"} {
			t.Run(fmt.Sprintf("http2 %t, recovery %s", http2, recovery), func(t *testing.T) {
				t.Parallel()
				a, o := newOutageApp(t, session.Options{})
				switch recovery {
				case "none":
					a.Handlers(a.m.Handler())
				case "before":
					a.Handlers(flamego.Recovery(), a.m.Handler())
				case "after":
					a.Handlers(a.m.Handler(), flamego.Recovery())
				}
				late := func(s session.Session, w http.ResponseWriter) {
					write(w, "begun")
					w.(http.Flusher).Flush()
					s.Set("key", 1)
					o.on.Store(true)
					write(w, "more")
				}
				a.Get("/injected", late)
				a.Get("/context", func(c flamego.Context, s session.Session) { late(s, c.ResponseWriter()) })
				a.Get("/length", func(s session.Session, w http.ResponseWriter) {
					w.Header().Set("Content-Length", "9")
					late(s, w)
				})
				server := a.serve(t, http2)
				server.Config.ErrorLog = nil
				for _, path := range []string{"/injected", "/context"} {
					o.on.Store(false)
					b := newVisitor(t, server)
					resp := b.open(path)
					_, err := io.ReadAll(resp.Body)
					require.Error(t, err, "the client must not take it for a success")
					_ = resp.Body.Close()
					require.Len(t, a.errs.take(), 1)
				}
				o.on.Store(false)
				resp, _ := newVisitor(t, server).get("/nowhere")
				require.Equal(t, http.StatusNotFound, resp.StatusCode, "the server goes on")
			})
		}
	}
}
