package session_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/webapp"
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
	a.Handlers(before, a.Handler())
	for _, d := range doors {
		a.Get(d.path(), d.handlers(change)...)
	}
	a.Get("/read", func(s session.Session) string { return fmt.Sprint(s.Get("key")) })
	a.Get("/set", func(s session.Session) { s.Set("key", "kept") })
}

// slowBackend takes its time to write, so that a response that does not wait for its
// commit is faster.
func slowBackend() session.Backend {
	return before(func(_ context.Context, method, _ string) error {
		if method == "Insert" || method == "Swap" {
			time.Sleep(3 * time.Millisecond)
		}
		return nil
	})
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
		{"slow", backendOptions(slowBackend()), false, 50},
		{"slow http2", backendOptions(slowBackend()), true, 30},
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
					b, other := webapp.Connect(t, server.URL), webapp.Connect(t, server.URL)
					b.Get("/set")
					other.Cookie = b.Cookie
					for n := range tt.rounds {
						resp := b.Open(fmt.Sprintf("%s?n=%d", d.path(), n))
						got := other.Get("/read").Body.String()
						if got != fmt.Sprint(n) {
							t.Errorf("round %d: the next request reads %s", n, got)
						}
						_, _ = io.Copy(io.Discard, resp.Body)
						_ = resp.Body.Close()
					}
					require.Equal(t, b.Cookie, other.Cookie)
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
			a := newApp(t, backendOptions(slowBackend()))
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
			b, other := webapp.Connect(t, server.URL), webapp.Connect(t, server.URL)
			b.Get("/set")
			other.Cookie = b.Cookie
			for n := range 50 {
				resp := b.Open(fmt.Sprint("/stream?n=", n))
				got := other.Get("/read").Body.String()
				require.Equal(t, fmt.Sprint("first ", n), got)
				resume <- struct{}{}
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, "begun, ended", string(body))
				require.NoError(t, resp.Body.Close())
				got = other.Get("/read").Body.String()
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
					a.TakeErrors()
					b := webapp.Connect(t, server.URL)
					b.Get("/set")
					w := b.Get(d.path())
					require.Equal(t, http.StatusInternalServerError, w.Code)
					require.Equal(t, "Internal Server Error\n", w.Body.String())
					for _, name := range []string{"Set-Cookie", "ETag", "Location", "Last-Modified", "Cache-Control", "Expires"} {
						require.Empty(t, w.Header().Values(name), name)
					}
					require.Len(t, a.TakeErrors(), 1)
					o.on.Store(false)
					got := b.Get("/read").Body.String()
					require.Equal(t, "kept", got)

					// A new visitor gets no ID for what is not there.
					w = webapp.Connect(t, server.URL).Get(d.path())
					o.on.Store(false)
					require.Equal(t, http.StatusInternalServerError, w.Code)
					require.Equal(t, "Internal Server Error\n", w.Body.String())
					require.Empty(t, w.Header().Values("Set-Cookie"))
					require.Len(t, a.TakeErrors(), 1)
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
					a.Handlers(a.Handler())
				case "before":
					a.Handlers(flamego.Recovery(), a.Handler())
				case "after":
					a.Handlers(a.Handler(), flamego.Recovery())
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
					b := webapp.Connect(t, server.URL)
					resp := b.Open(path)
					_, err := io.ReadAll(resp.Body)
					require.Error(t, err, "the client must not take it for a success")
					_ = resp.Body.Close()
					require.Len(t, a.TakeErrors(), 1)
				}
				o.on.Store(false)
				w := webapp.Connect(t, server.URL).Get("/nowhere")
				require.Equal(t, http.StatusNotFound, w.Code, "the server goes on")
			})
		}
	}
}
