package session_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// lateApp is an app whose pages each begin their response before a session that cannot
// be saved.
type lateApp struct {
	*app
	*outage
}

// late is a page, and what of it a client may see before the reset.
type late struct {
	page  func(c flamego.Context, w http.ResponseWriter, fail func())
	shown bool // some of it was flushed
}

// big is more than the first buffer of net/http holds, and less than the second.
var big = strings.Repeat("big ", 700)

var latePages = map[string]late{
	"flushed": {func(_ flamego.Context, w http.ResponseWriter, fail func()) {
		write(w, "begun")
		w.(http.Flusher).Flush()
		fail()
	}, true},
	"flushed-and-more": {func(_ flamego.Context, w http.ResponseWriter, fail func()) {
		write(w, "begun")
		w.(http.Flusher).Flush()
		fail()
		write(w, "more")
	}, true},
	"flushed-length": {func(_ flamego.Context, w http.ResponseWriter, fail func()) {
		w.Header().Set("Content-Length", "9")
		write(w, "begun")
		w.(http.Flusher).Flush()
		fail()
		write(w, "more")
	}, true},
	"flushed-big": {func(_ flamego.Context, w http.ResponseWriter, fail func()) {
		for range 100 {
			write(w, big)
		}
		fail()
	}, true},
	"flushed-identity": {func(_ flamego.Context, w http.ResponseWriter, fail func()) {
		w.Header().Set("Transfer-Encoding", "identity") // so the end of the connection ends the body
		write(w, "begun")
		w.(http.Flusher).Flush()
		fail()
	}, true},
	"buffered":     {func(_ flamego.Context, w http.ResponseWriter, fail func()) { write(w, "begun"); fail() }, false},
	"buffered-big": {func(_ flamego.Context, w http.ResponseWriter, fail func()) { write(w, big); fail() }, false},
	"length": {func(_ flamego.Context, w http.ResponseWriter, fail func()) {
		w.Header().Set("Content-Length", "5")
		write(w, "begun")
		fail()
	}, false},
	"length-big": {func(_ flamego.Context, w http.ResponseWriter, fail func()) {
		w.Header().Set("Content-Length", fmt.Sprint(len(big)))
		write(w, big)
		fail()
	}, false},
	"no-content": {func(_ flamego.Context, w http.ResponseWriter, fail func()) {
		w.WriteHeader(http.StatusNoContent)
		fail()
	}, false},
	"redirect": {func(c flamego.Context, _ http.ResponseWriter, fail func()) { c.Redirect("/elsewhere"); fail() }, false},
}

func newLateApp(t *testing.T) lateApp {
	t.Helper()
	a, o := newOutageApp(t, session.Options{})
	for name, l := range latePages {
		a.Routes("/"+name, "GET,HEAD", func(c flamego.Context, s session.Session, w http.ResponseWriter) {
			l.page(c, w, func() { s.Set("key", 1); o.on.Store(true) })
		})
	}
	a.Get("/set", func(s session.Session) string { s.Set("key", 1); return "ok" })
	return lateApp{a, o}
}

// request sends a request as it stands, on a connection of its own, and returns all
// that comes back, and how it ends.
func request(t *testing.T, server *httptest.Server, text string) (string, error) {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	if server.TLS != nil {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	write(conn, text)
	got, err := io.ReadAll(conn)
	return string(got), err
}

// requireReset requests each page by HTTP/1, and wants a reset in place of an end, or
// below TLS what nobody takes for one: nginx takes a reset there for an end.
func (a lateApp) requireReset(t *testing.T, server *httptest.Server) {
	t.Helper()
	for name, l := range latePages {
		for _, how := range []struct{ method, version, header string }{
			{"GET", "1.0", ""},
			{"GET", "1.0", "Connection: keep-alive\r\n"},
			{"GET", "1.1", ""},
			{"GET", "1.1", "Connection: close\r\n"},
			{"HEAD", "1.0", ""},
			{"HEAD", "1.1", ""},
		} {
			a.on.Store(false)
			a.TakeErrors()
			line := fmt.Sprintf("%s /%s HTTP/%s", how.method, name, how.version)
			got, err := request(t, server, line+"\r\nHost: app\r\n"+how.header+"\r\n")
			require.Len(t, a.TakeErrors(), 1, line)
			if how.method == "HEAD" && l.shown {
				continue // all of it was flushed
			}
			if server.TLS == nil {
				require.ErrorIs(t, err, syscall.ECONNRESET, "%s %s ends with %.100q", line, how.header, got)
			} else {
				require.ErrorContains(t, err, "tls: ", "%s %s ends with %.100q", line, how.header, got)
			}
			if !l.shown {
				require.Empty(t, got, line)
			}
		}
	}
	a.on.Store(false)
	got, err := request(t, server, "GET /set HTTP/1.0\r\n\r\n")
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(got, "\r\n\r\nok"), "the server goes on")
}

// To a client of HTTP/1.0 the end of the connection is that of the body, so a response
// that is broken off ends in a reset. What the server has in its buffers is not sent.
func TestLateFailureResets(t *testing.T) {
	for _, recovery := range []bool{false, true} {
		t.Run(fmt.Sprint("recovery ", recovery), func(t *testing.T) {
			t.Parallel()
			a := newLateApp(t)
			if recovery {
				a.Handlers(flamego.Recovery(), a.Handler())
			}
			a.requireReset(t, a.serve(t, false))
		})
	}
}

// What is sent past our writer cannot be a 500 when the commit fails. If the handler panics then, a
// Recovery that comes before the sessions must not end the response as if all were well. The same
// goes for an ErrorFunc that panics.
func TestPanicAfterALateFailureResets(t *testing.T) {
	for name, errorFunc := range map[string]func(error){"handler": nil, "ErrorFunc": func(error) { panic("in ErrorFunc") }} {
		t.Run(name, func(t *testing.T) {
			o := new(outage)
			f := flamego.NewWithLogger(io.Discard)
			opts := backendOptions(before(o.fail))
			opts.ErrorFunc = errorFunc
			var past http.ResponseWriter
			f.Use(flamego.Recovery(), func(c flamego.Context) { past = c.ResponseWriter() }, session.Sessioner(opts))
			f.Get("/", func(s session.Session, w http.ResponseWriter) {
				if errorFunc != nil { // a change after the first byte, by our writer
					past = w
					write(w, "begun")
				}
				o.on.Store(true)
				s.Set("key", 1)
				write(past, "done")
				if errorFunc == nil {
					panic("in the handler")
				}
			})
			server := httptest.NewServer(f)
			t.Cleanup(server.Close)
			got, err := request(t, server, "GET / HTTP/1.0\r\n\r\n")
			require.ErrorIs(t, err, syscall.ECONNRESET, got)
		})
	}
}

// TLS says goodbye when it is closed, which is a proper end, too.
func TestLateFailureBreaksTLS(t *testing.T) {
	t.Parallel()
	a := newLateApp(t)
	server := httptest.NewTLSServer(a)
	t.Cleanup(server.Close)
	a.requireReset(t, server)
}

// A listener may wrap its connections, and count them. netutil.LimitListener does.
type wrappingListener struct {
	net.Listener
	wrap func(c net.Conn, closed func()) net.Conn
	open atomic.Int64
}

func (l *wrappingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.open.Add(1)
	return l.wrap(c, func() { l.open.Add(-1) }), nil
}

type embeddingConn struct {
	net.Conn
	closed func()
}

func (c *embeddingConn) Close() error { c.closed(); return c.Conn.Close() }

type namingConn struct {
	net.Conn
	hidden struct{ net.Conn }
	closed func()
}

func (c *namingConn) NetConn() net.Conn { return c.hidden.Conn }
func (c *namingConn) Close() error      { c.closed(); return c.hidden.Close() }

func TestLateFailureResetsBelowAListener(t *testing.T) {
	embed := func(c net.Conn, closed func()) net.Conn { return &embeddingConn{c, closed} }
	for name, wrap := range map[string]func(c net.Conn, closed func()) net.Conn{
		"embeds": embed,
		"twice":  func(c net.Conn, closed func()) net.Conn { return embed(embed(c, func() {}), closed) },
		"NetConn": func(c net.Conn, closed func()) net.Conn {
			// What it embeds is no TCP connection.
			return &namingConn{Conn: struct{ net.Conn }{c}, hidden: struct{ net.Conn }{c}, closed: closed}
		},
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %t", name, secure), func(t *testing.T) {
				t.Parallel()
				a := newLateApp(t)
				server := httptest.NewUnstartedServer(a)
				l := &wrappingListener{Listener: server.Listener, wrap: wrap}
				server.Listener = l
				if secure {
					server.StartTLS()
				} else {
					server.Start()
				}
				a.requireReset(t, server)
				server.Close()
				require.Eventually(t, func() bool { return l.open.Load() == 0 }, 10*time.Second, time.Millisecond,
					"each connection is closed once")
			})
		}
	}
}

// Handlers of net/http around Flamego may give it a writer of their own.
type embeddingWriter struct{ http.ResponseWriter }

type unwrappingWriter struct{ w http.ResponseWriter }

func (w unwrappingWriter) Header() http.Header         { return w.w.Header() }
func (w unwrappingWriter) Write(b []byte) (int, error) { return w.w.Write(b) }
func (w unwrappingWriter) WriteHeader(status int)      { w.w.WriteHeader(status) }
func (w unwrappingWriter) Flush()                      { w.w.(http.Flusher).Flush() }
func (w unwrappingWriter) Unwrap() http.ResponseWriter { return w.w }

func (w embeddingWriter) Flush() { w.ResponseWriter.(http.Flusher).Flush() }

func TestLateFailureResetsBelowAWriter(t *testing.T) {
	for name, wrap := range map[string]func(w http.ResponseWriter) http.ResponseWriter{
		"embeds":  func(w http.ResponseWriter) http.ResponseWriter { return embeddingWriter{w} },
		"Unwrap":  func(w http.ResponseWriter) http.ResponseWriter { return unwrappingWriter{w} },
		"several": func(w http.ResponseWriter) http.ResponseWriter { return &embeddingWriter{unwrappingWriter{w}} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newLateApp(t)
			a.Handlers(flamego.Recovery(), a.Handler())
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				a.ServeHTTP(wrap(w), r)
			}))
			t.Cleanup(server.Close)
			a.requireReset(t, server)
		})
	}
}

// A second Sessioner before ours is one more writer on the way.
func TestLateFailureResetsBelowSessions(t *testing.T) {
	t.Parallel()
	a := newLateApp(t)
	outer := newApp(t, session.Options{Cookie: session.CookieOptions{Name: "outer"}})
	a.Handlers(flamego.Recovery(), outer.Handler(), a.Handler())
	a.requireReset(t, a.serve(t, false))
}

// http.TimeoutHandler holds the response back, and the server is out of reach. Also if a
// Recovery catches the panic, the client sees no success.
func TestLateFailureBehindATimeoutHandler(t *testing.T) {
	for _, recovery := range []bool{false, true} {
		t.Run(fmt.Sprint("recovery ", recovery), func(t *testing.T) {
			t.Parallel()
			a := newLateApp(t)
			if recovery {
				a.Handlers(flamego.Recovery(), a.Handler())
			}
			server := httptest.NewUnstartedServer(http.TimeoutHandler(a, 30*time.Second, "too late"))
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // the panic
			server.Start()
			t.Cleanup(server.Close)
			for _, name := range []string{"flushed", "flushed-and-more", "flushed-length", "buffered", "buffered-big", "length", "length-big"} {
				for _, version := range []string{"1.0", "1.1"} {
					a.on.Store(false)
					got, _ := request(t, server, fmt.Sprintf("GET /%s HTTP/%s\r\nHost: app\r\n\r\n", name, version))
					header, body, _ := strings.Cut(got, "\r\n\r\n")
					if got == "" {
						continue
					}
					require.Contains(t, header, "Content-Length", name)
					var length int
					_, err := fmt.Sscanf(header[strings.Index(header, "Content-Length"):], "Content-Length: %d", &length)
					require.NoError(t, err)
					require.Less(t, len(body), length, name)
				}
			}
		})
	}
}

// HTTP/2 resets the stream, whatever of the response was sent.
func TestLateFailureResetsTheStream(t *testing.T) {
	t.Parallel()
	a := newLateApp(t)
	server := a.serve(t, true)
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for name, l := range latePages {
		if name == "flushed-identity" {
			continue // HTTP/2 has no such thing
		}
		a.on.Store(false)
		a.TakeErrors()
		resp, err := client.Get(server.URL + "/" + name)
		if err == nil {
			require.True(t, l.shown, name)
			require.Equal(t, 2, resp.ProtoMajor)
			_, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		require.ErrorContains(t, err, "stream error", name)
		require.Len(t, a.TakeErrors(), 1, name)
	}
	a.on.Store(false)
	resp, err := client.Get(server.URL + "/set")
	require.NoError(t, err)
	_ = resp.Body.Close()
}

// Where there is no TCP connection to reset, as at a Unix socket, it is closed.
func TestLateFailureAtAUnixSocket(t *testing.T) {
	t.Parallel()
	a := newLateApp(t)
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if errors.Is(err, syscall.EINVAL) {
		t.Skip("the name of the temporary folder is too long:", err)
	}
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(a)
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	conn, err := net.Dial("unix", l.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	write(conn, "GET /flushed HTTP/1.1\r\nHost: app\r\n\r\n")
	got, _ := io.ReadAll(conn)
	require.Contains(t, string(got), "begun")
	require.NotContains(t, string(got), "\r\n0\r\n", "the last chunk")
	require.Len(t, a.TakeErrors(), 1)
}
