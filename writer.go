package session

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"reflect"
	"runtime"
	"time"

	"github.com/flamego/flamego"
)

var _ flamego.ResponseWriter = (*writer)(nil)

// writer commits the session before it lets the first byte through.
type writer struct {
	http.ResponseWriter // what the handlers would write to without us
	rq                  *request
}

// errNotSaved is what a handler gets for writing to a response that has become
// our 500.
var errNotSaved = errors.New("session: not saved, the response is an error")

// WriteHeader aborts when it is called to report a panic: a Recovery that comes
// after the sessions has caught it, so nothing else shows that there was one.
func (w *writer) WriteHeader(status int) {
	if status >= http.StatusInternalServerError && !w.rq.begun() && panicking() {
		w.rq.abort()
	}
	if w.rq.ready() {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *writer) Write(b []byte) (int, error) {
	if !w.rq.ready() {
		return 0, errNotSaved
	}
	return w.ResponseWriter.Write(b)
}

func (w *writer) Flush() {
	if !w.rq.ready() {
		return
	}
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Hijack hands over the connection. Flamego's Before hooks do not run for it.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.rq.ready() {
		return nil, nil, errNotSaved
	}
	conn, buf, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.rq.hijacked = w.rq.hijacked || err == nil
	return conn, buf, err
}

func (w *writer) Push(target string, opts *http.PushOptions) error {
	return w.rq.Context.ResponseWriter().Push(target, opts)
}

func (w *writer) Status() int                 { return w.rq.Context.ResponseWriter().Status() }
func (w *writer) Written() bool               { return w.rq.Context.ResponseWriter().Written() }
func (w *writer) Size() int                   { return w.rq.Context.ResponseWriter().Size() }
func (w *writer) Before(f flamego.BeforeFunc) { w.rq.Context.ResponseWriter().Before(f) }

// ResponseWriter is the writer that Flamego's render and other middleware use.
func (rq *request) ResponseWriter() flamego.ResponseWriter { return &rq.writer }

// Redirect is Flamego's, to our writer.
func (rq *request) Redirect(location string, status ...int) {
	code := http.StatusFound
	if len(status) == 1 {
		code = status[0]
	}
	http.Redirect(rq.ResponseWriter(), rq.Request().Request, location, code)
}

// resetStream breaks off the response of a server of net/http, by a deadline for
// writing that has passed. Flamego's writer hides the server's and has no Unwrap,
// but its field for it is exported.
func resetStream(w flamego.ResponseWriter) bool {
	v := reflect.Indirect(reflect.ValueOf(w))
	if v.Kind() != reflect.Struct {
		return false
	}
	field := v.FieldByName("ResponseWriter")
	if !field.IsValid() || !field.CanInterface() {
		return false
	}
	server, ok := field.Interface().(http.ResponseWriter)
	return ok && http.NewResponseController(server).SetWriteDeadline(time.Unix(1, 0)) == nil
}

// panicking reports whether the caller runs in a deferred function because of a
// panic, also one that has been recovered from.
func panicking() bool {
	var callers [64]uintptr
	for skip := 1; ; skip += len(callers) {
		n := runtime.Callers(skip, callers[:])
		frames := runtime.CallersFrames(callers[:n])
		for more := n > 0; more; {
			var frame runtime.Frame
			if frame, more = frames.Next(); frame.Function == "runtime.gopanic" {
				return true
			}
		}
		if n < len(callers) {
			return false
		}
	}
}
