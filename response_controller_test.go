package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/webapp"
)

// deadlineWriter is the writer of middleware that knows the server's, as that of
// Flamego does not tell it.
type deadlineWriter struct {
	http.ResponseWriter
	server http.ResponseWriter
}

func (w deadlineWriter) control() *http.ResponseController {
	return http.NewResponseController(w.server)
}

func (w deadlineWriter) SetReadDeadline(d time.Time) error  { return w.control().SetReadDeadline(d) }
func (w deadlineWriter) SetWriteDeadline(d time.Time) error { return w.control().SetWriteDeadline(d) }
func (w deadlineWriter) EnableFullDuplex() error            { return w.control().EnableFullDuplex() }
func (w deadlineWriter) Flush()                             { w.ResponseWriter.(http.Flusher).Flush() }

// serverWriter leads to the server's writer by Unwrap alone.
type serverWriter struct {
	http.ResponseWriter
	server http.ResponseWriter
}

func (w serverWriter) Unwrap() http.ResponseWriter { return w.server }

// mappings are the writers that middleware before the sessions may map.
var mappings = map[string]func(own, server http.ResponseWriter) http.ResponseWriter{
	"methods": func(own, server http.ResponseWriter) http.ResponseWriter { return deadlineWriter{own, server} },
	"unwrap":  func(own, server http.ResponseWriter) http.ResponseWriter { return serverWriter{own, server} },
	"nothing": nil,
}

type serverKey struct{}

// serveMapping serves the app with middleware that maps a writer of its own.
func (a *app) serveMapping(t *testing.T, http2 bool, mapping func(own, server http.ResponseWriter) http.ResponseWriter) *httptest.Server {
	t.Helper()
	a.Handlers(func(c flamego.Context) {
		if mapping != nil {
			server := c.Request().Context().Value(serverKey{}).(http.ResponseWriter)
			c.MapTo(mapping(c.ResponseWriter(), server), (*http.ResponseWriter)(nil))
		}
	}, a.Handler())
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), serverKey{}, w)))
	}))
	if server.EnableHTTP2 = http2; http2 {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server
}

// onMappings runs a test with each store, version of HTTP and mapping.
func onMappings(t *testing.T, f func(t *testing.T, opts session.Options, http2 bool, mapping string)) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		for _, http2 := range []bool{false, true} {
			for mapping := range mappings {
				t.Run(fmt.Sprintf("http2 %t, %s", http2, mapping), func(t *testing.T) { f(t, opts, http2, mapping) })
			}
		}
	})
}

// ResponseController reaches the deadlines of the server where it would without
// sessions, and no others.
func TestControllerReachesTheDeadlines(t *testing.T) {
	onMappings(t, func(t *testing.T, opts session.Options, http2 bool, mapping string) {
		const soon = 50 * time.Millisecond
		errs := make(chan error, 1)
		a := newApp(t, opts)
		a.Get("/write", func(s session.Session, w http.ResponseWriter) {
			s.Set("key", 1)
			err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(soon))
			for range 1000 { // MiB, more than fits in between
				if err != nil {
					break
				}
				_, err = w.Write(make([]byte, 1<<20))
			}
			errs <- err
		})
		a.Post("/read", func(w http.ResponseWriter, r *http.Request) {
			err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(soon))
			if err == nil {
				_, err = io.ReadAll(r.Body)
			}
			errs <- err
		})
		a.Get("/duplex", func(w http.ResponseWriter) { errs <- http.NewResponseController(w).EnableFullDuplex() })
		server := a.serveMapping(t, http2, mappings[mapping])
		next := func() error {
			select {
			case err := <-errs:
				return err
			case <-time.After(20 * time.Second):
				return errors.New("the deadline was not set")
			}
		}

		resp, err := server.Client().Get(server.URL + "/write")
		if mapping == "nothing" {
			require.NoError(t, err)
			_ = resp.Body.Close()
			require.ErrorIs(t, next(), http.ErrNotSupported)
		} else {
			err = next() // which comes while we read nothing
			require.Error(t, err)
			require.NotErrorIs(t, err, http.ErrNotSupported)
			require.NotContains(t, err.Error(), "not set")
			if !http2 {
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			}
			if resp != nil {
				_ = resp.Body.Close()
			}
		}

		body, end := io.Pipe()
		defer func() { _ = end.Close() }()
		go func() {
			if resp, err := server.Client().Post(server.URL+"/read", "text/plain", body); err == nil {
				_ = resp.Body.Close()
			}
		}()
		if mapping == "nothing" {
			require.ErrorIs(t, next(), http.ErrNotSupported)
		} else {
			require.ErrorIs(t, next(), os.ErrDeadlineExceeded)
		}
		_ = end.Close()

		resp, err = server.Client().Get(server.URL + "/duplex")
		require.NoError(t, err)
		_ = resp.Body.Close()
		if mapping == "nothing" {
			require.ErrorIs(t, next(), http.ErrNotSupported)
		} else {
			require.NoError(t, next())
		}
	})
}

// A flush by ResponseController, or by any other means, comes after the commit, and the
// response has the headers of ours, whatever writer it reaches.
func TestControllerCommitsBeforeAFlush(t *testing.T) {
	onMappings(t, func(t *testing.T, opts session.Options, http2 bool, mapping string) {
		for name, flush := range map[string]func(w http.ResponseWriter) error{
			"controller": func(w http.ResponseWriter) error { return http.NewResponseController(w).Flush() },
			"method":     func(w http.ResponseWriter) error { w.(http.Flusher).Flush(); return nil },
		} {
			flushed, resume := make(chan error, 1), make(chan struct{})
			a := newApp(t, opts)
			a.Get("/flush", func(s session.Session, w http.ResponseWriter) {
				s.Set("key", "flushed")
				flushed <- flush(w)
				select {
				case <-resume:
					write(w, "ended")
				case <-time.After(5 * time.Second):
					write(w, "nothing was flushed")
				}
			})
			a.Get("/read", func(s session.Session) string { return fmt.Sprint(s.Get("key")) })
			server := a.serveMapping(t, http2, mappings[mapping])
			b, other := webapp.Connect(t, server.URL), webapp.Connect(t, server.URL)
			resp := b.Open("/flush") // while the handler waits
			other.Cookie = b.Cookie
			require.Equal(t, "flushed", other.Get("/read").Body.String(), name)
			require.Equal(t, []string{"Cookie"}, resp.Header.Values("Vary"), name)
			require.Equal(t, "no-store", resp.Header.Get("Cache-Control"), name)
			require.NoError(t, <-flushed, name)
			close(resume)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, "ended", string(body))
			_ = resp.Body.Close()
		}
	})
}

// A commit that fails before a flush is a 500, and the handler is told.
func TestControllerFlushFails(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for mapping, m := range mappings {
			t.Run(fmt.Sprintf("http2 %t, %s", http2, mapping), func(t *testing.T) {
				errs := make(chan error, 2) // a handler goes on when its client has the 500
				a, o := newOutageApp(t, session.Options{})
				a.Get("/flush", func(s session.Session, w http.ResponseWriter) {
					s.Set("key", 1)
					o.on.Store(true)
					errs <- http.NewResponseController(w).Flush()
					errs <- http.NewResponseController(w).Flush()
				})
				a.Get("/hijack", func(s session.Session, w http.ResponseWriter) {
					s.Set("key", 1)
					o.on.Store(true)
					_, _, err := http.NewResponseController(w).Hijack()
					errs <- err
					_, err = w.Write(nil)
					errs <- err
				})
				b := webapp.Connect(t, a.serveMapping(t, http2, m).URL)
				for _, path := range []string{"/flush", "/hijack"} {
					o.on.Store(false)
					w := b.Get(path)
					require.Equal(t, http.StatusInternalServerError, w.Code)
					require.Equal(t, "Internal Server Error\n", w.Body.String())
					require.Empty(t, w.Header().Values("Set-Cookie"))
					for range 2 {
						require.EqualError(t, <-errs, "session: not saved, the response is an error")
					}
					require.Len(t, a.TakeErrors(), 1)
				}
			})
		}
	}
}

// failingWriter is a writer whose flush fails.
type failingWriter struct{ http.ResponseWriter }

var errFlush = errors.New("from the writer")

func (failingWriter) FlushError() error { return errFlush }

// The error of a flush is that of the writer that was mapped.
func TestControllerReturnsTheErrorOfTheWriter(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		for want, mapping := range map[error]func(own, server http.ResponseWriter) http.ResponseWriter{
			errFlush:             func(own, _ http.ResponseWriter) http.ResponseWriter { return failingWriter{own} },
			http.ErrNotSupported: func(own, _ http.ResponseWriter) http.ResponseWriter { return struct{ http.ResponseWriter }{own} },
		} {
			a := newApp(t, opts)
			var got error
			a.Get("/", func(w http.ResponseWriter) (int, string) {
				got = http.NewResponseController(w).Flush()
				return http.StatusCreated, "ok"
			})
			w := webapp.Connect(t, a.serveMapping(t, false, mapping).URL).Get("/")
			require.ErrorIs(t, got, want)
			require.Equal(t, http.StatusCreated, w.Code, "nothing has begun the response")
		}
	})
}

// shortcutWriter has what io.Copy and io.WriteString prefer to Write.
type shortcutWriter struct {
	http.ResponseWriter
	server http.ResponseWriter
}

func (w shortcutWriter) ReadFrom(r io.Reader) (int64, error)  { return io.Copy(w.server, r) }
func (w shortcutWriter) WriteString(text string) (int, error) { return io.WriteString(w.server, text) }
func (w shortcutWriter) Unwrap() http.ResponseWriter          { return w.server }

// There is no shortcut past the commit.
func TestNoShortcutPastTheCommit(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for name, answer := range map[string]func(w http.ResponseWriter) (int64, error){
			"io.Copy": func(w http.ResponseWriter) (int64, error) {
				return io.Copy(w, struct{ io.Reader }{strings.NewReader("a page")})
			},
			"io.WriteString": func(w http.ResponseWriter) (int64, error) {
				n, err := io.WriteString(w, "a page")
				return int64(n), err
			},
		} {
			t.Run(fmt.Sprintf("http2 %t, %s", http2, name), func(t *testing.T) {
				a, o := newOutageApp(t, session.Options{})
				errs := make(chan error, 1)
				a.Get("/", func(s session.Session, w http.ResponseWriter) {
					s.Set("key", 1)
					o.on.Store(true)
					_, err := answer(w)
					errs <- err
				})
				w := webapp.Connect(t, a.serveMapping(t, http2, func(own, server http.ResponseWriter) http.ResponseWriter {
					return shortcutWriter{own, server}
				}).URL).Get("/")
				require.Equal(t, http.StatusInternalServerError, w.Code)
				require.Equal(t, "Internal Server Error\n", w.Body.String())
				require.Error(t, <-errs)
			})
		}
	}
}
