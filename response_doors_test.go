package session_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// changer is what a door does to its session before it answers.
type changer func(c flamego.Context, s session.Session)

// door is one way that Flamego has to answer a request.
type door struct {
	name     string
	handlers func(change changer) []flamego.Handler
	http1    bool // not there in HTTP/2
}

// one is a door that takes one handler.
func one(name string, handler func(change changer) flamego.Handler) door {
	return door{name: name, handlers: func(change changer) []flamego.Handler {
		return []flamego.Handler{handler(change)}
	}}
}

var doors = []door{
	one("string", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session) string { change(c, s); return "ok" }
	}),
	one("status and string", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session) (int, string) {
			change(c, s)
			return http.StatusCreated, "ok"
		}
	}),
	one("status alone", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session) (int, string) {
			change(c, s)
			return http.StatusNoContent, ""
		}
	}),
	one("bytes", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session) []byte { change(c, s); return []byte("ok") }
	}),
	one("status and bytes", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session) (int, []byte) {
			change(c, s)
			return http.StatusOK, []byte("ok")
		}
	}),
	one("error", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session) error { change(c, s); return errors.New("from the handler") }
	}),
	one("nil error", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session) error { change(c, s); return nil }
	}),
	one("status and error", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session) (int, error) {
			change(c, s)
			return http.StatusTeapot, errors.New("from the handler")
		}
	}),
	one("string and error", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session) (string, error) { change(c, s); return "ok", nil }
	}),
	one("string and an error", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session) (string, error) {
			change(c, s)
			return "", errors.New("from the handler")
		}
	}),
	one("nothing written", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session) { change(c, s) }
	}),
	one("injected Write", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session, w http.ResponseWriter) {
			change(c, s)
			write(w, "ok")
			write(w, ", and more")
		}
	}),
	one("injected WriteHeader", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session, w http.ResponseWriter) {
			change(c, s)
			w.Header().Set("Content-Length", "2")
			w.WriteHeader(http.StatusAccepted)
			write(w, "ok")
		}
	}),
	one("context Write", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session) { change(c, s); write(c.ResponseWriter(), "ok") }
	}),
	one("context WriteHeader", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session) {
			change(c, s)
			c.ResponseWriter().WriteHeader(http.StatusNoContent)
		}
	}),
	one("redirect", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session) { change(c, s); c.Redirect("/elsewhere") }
	}),
	one("redirect by net/http", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session, w http.ResponseWriter, r *http.Request) {
			change(c, s)
			http.Redirect(w, r, "/elsewhere", http.StatusSeeOther)
		}
	}),
	{name: "render JSON", handlers: func(change changer) []flamego.Handler {
		return []flamego.Handler{flamego.Renderer(), func(c flamego.Context, s session.Session, r flamego.Render) {
			change(c, s)
			r.JSON(http.StatusOK, "ok")
		}}
	}},
	{name: "render text", handlers: func(change changer) []flamego.Handler {
		return []flamego.Handler{flamego.Renderer(), func(c flamego.Context, s session.Session, r flamego.Render) {
			change(c, s)
			r.PlainText(http.StatusOK, "ok")
		}}
	}},
	one("flush", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session, w http.ResponseWriter) {
			change(c, s)
			w.(http.Flusher).Flush()
			write(w, "ok")
		}
	}),
	one("context flush", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session) { change(c, s); c.ResponseWriter().Flush() }
	}),
	one("flush by ResponseController", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session, w http.ResponseWriter) {
			change(c, s)
			_ = http.NewResponseController(w).Flush()
		}
	}),
	one("ServeContent", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session, w http.ResponseWriter, r *http.Request) {
			change(c, s)
			http.ServeContent(w, r, "a.txt", time.Unix(1e9, 0), bytes.NewReader(make([]byte, 10_000)))
		}
	}),
	one("io.Copy", func(change changer) flamego.Handler {
		return func(c flamego.Context, s session.Session, w http.ResponseWriter) {
			change(c, s)
			_, _ = io.Copy(w, strings.NewReader(strings.Repeat("ok", 50_000)))
		}
	}),
	{name: "hijack", http1: true, handlers: func(change changer) []flamego.Handler {
		return []flamego.Handler{func(c flamego.Context, s session.Session, w http.ResponseWriter) {
			change(c, s)
			hijack(w.(http.Hijacker))
		}}
	}},
	{name: "hijack by ResponseController", http1: true, handlers: func(change changer) []flamego.Handler {
		return []flamego.Handler{func(c flamego.Context, s session.Session) {
			change(c, s)
			hijack(http.NewResponseController(c.ResponseWriter()))
		}}
	}},
	// The names of the doors below tell addDoors what to put before the sessions.
	{name: "gzip after the sessions", handlers: func(change changer) []flamego.Handler {
		return []flamego.Handler{gzipped, func(c flamego.Context, s session.Session) string { change(c, s); return "ok" }}
	}},
	{name: "gzip before the sessions", handlers: func(change changer) []flamego.Handler {
		return []flamego.Handler{func(c flamego.Context, s session.Session) string { change(c, s); return "ok" }}
	}},
	{name: "gzip before the sessions, nothing written", handlers: func(change changer) []flamego.Handler {
		return []flamego.Handler{func(c flamego.Context, s session.Session) { change(c, s) }}
	}},
	{name: "gzip before the sessions, redirect", handlers: func(change changer) []flamego.Handler {
		return []flamego.Handler{func(c flamego.Context, s session.Session) { change(c, s); c.Redirect("/elsewhere") }}
	}},
	{name: "buffer after the sessions", handlers: func(change changer) []flamego.Handler {
		return []flamego.Handler{buffered, func(c flamego.Context, s session.Session) string { change(c, s); return "ok" }}
	}},
	{name: "buffer before the sessions", handlers: func(change changer) []flamego.Handler {
		return []flamego.Handler{func(c flamego.Context, s session.Session) (int, string) {
			change(c, s)
			return http.StatusCreated, "ok"
		}}
	}},
}

// hijack answers on the connection itself.
func hijack(h interface {
	http.Hijacker
}) {
	conn, _, err := h.Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	write(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
}

// gzipWriter is what middleware that compresses gives to handlers: no more than
// an http.ResponseWriter.
type gzipWriter struct {
	http.ResponseWriter
	gz *gzip.Writer
}

func (w gzipWriter) Write(b []byte) (int, error) { return w.gz.Write(b) }

// gzipped compresses like github.com/flamego/gzip, headers set and all.
func gzipped(c flamego.Context) {
	w := c.ResponseWriter()
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Set("Vary", "Accept-Encoding")
	gz := gzip.NewWriter(w)
	defer func() { _ = gz.Close() }()
	c.MapTo(gzipWriter{w, gz}, (*http.ResponseWriter)(nil))
	c.Next()
	w.Header().Del("Content-Length")
}

// bufferWriter keeps the response back until the handlers are done.
type bufferWriter struct {
	http.ResponseWriter
	status int
	bytes.Buffer
}

func (w *bufferWriter) Write(b []byte) (int, error) { return w.Buffer.Write(b) }

func (w *bufferWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func buffered(c flamego.Context) {
	buf := &bufferWriter{ResponseWriter: c.ResponseWriter()}
	c.MapTo(buf, (*http.ResponseWriter)(nil))
	c.Next()
	if buf.status != 0 {
		buf.ResponseWriter.WriteHeader(buf.status)
	}
	if buf.Len() > 0 {
		_, _ = buf.ResponseWriter.Write(buf.Bytes())
	}
}

func (d door) path() string {
	return "/" + strings.NewReplacer(" ", "-", ",", "", "/", "-").Replace(d.name)
}
