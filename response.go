package session

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/flamego/flamego"
)

// The first byte of the response, and what becomes of the response when the session
// cannot be saved.
//
// A commit that fails should be a 500, but Flamego's hook for the first byte
// (ResponseWriter.Before) runs when it is too late for another status. So handlers
// write through a writer of ours, which commits first. The hook is for whatever does
// not use that writer, and for the headers, which handlers may set until then.

// response is what is known of the response of one request.
type response struct {
	triedCommit bool // our writer has committed, or tried to, before it let the response begin
	refused     bool // the response is our 500
	hijacked    bool // the connection is no longer ours
}

// begun reports whether it is too late for another status or header.
func (rq *request) begun() bool {
	return rq.hijacked || rq.Context.ResponseWriter().Written()
}

// commitBeforeWrite commits before the response begins, and reports whether the handler may
// write: it may not once the commit has failed and the response is our 500.
func (rq *request) commitBeforeWrite() bool {
	if !rq.begun() {
		rq.triedCommit = true
		if rq.commit() != nil {
			rq.refuse()
		}
	}
	return !rq.refused
}

// beforeHeader is called by Flamego when the response is about to begin, in whatever
// way but by Hijack. It commits what our writer has not: where somebody writes without
// our writer, and what other hooks have changed. Here it is too late for another status.
func (rq *request) beforeHeader(w flamego.ResponseWriter) {
	if rq.m.adapter.changedIsReliable() || !rq.triedCommit {
		if rq.commit() != nil && rq.m.writesCookie {
			rq.m.cookie.drop(w.Header())
		}
	}
	rq.seal()
}

// refuse answers with status 500 and a generic body. The length, once it is sent,
// keeps out what middleware before us has left to write, such as the end of a
// gzip stream.
func (rq *request) refuse() {
	rq.refused = true
	w := rq.Context.ResponseWriter()
	h := w.Header()
	for _, name := range []string{
		"Cache-Control", "Content-Encoding", "Content-Range", "Etag", "Expires", "Last-Modified", "Location",
	} {
		h.Del(name)
	}
	if rq.err != nil && rq.m.writesCookie {
		rq.m.cookie.drop(h)
	}
	rq.seal()
	body := http.StatusText(http.StatusInternalServerError) + "\n"
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = io.WriteString(w, body)
	w.Flush()
}

var errTooLate = errors.New("session: the response began before the session could be saved")

// breakOff ends a response that has begun so that the client does not take it
// for a success: it closes the connection, or resets the stream where the
// connection belongs to several requests (HTTP/2). ErrorFunc knows why. To panic
// is the last resort, as a Recovery would end the response like any other.
func (rq *request) breakOff() {
	if rq.hijacked {
		return
	}
	w := rq.Context.ResponseWriter()
	conn, _, err := http.NewResponseController(w).Hijack()
	switch {
	case err == nil:
		_ = conn.Close()
	case !resetStream(w):
		panic(errTooLate)
	}
	rq.hijacked = true
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

var _ flamego.ResponseWriter = (*writer)(nil)

// writer commits the session before it lets the first byte through.
type writer struct {
	http.ResponseWriter // what the handlers would write to without us
	rq                  *request
}

// errNotSaved is what a handler gets for writing to a response that has become
// our 500.
var errNotSaved = errors.New("session: not saved, the response is an error")

func (w *writer) WriteHeader(status int) {
	if w.rq.commitBeforeWrite() {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *writer) Write(b []byte) (int, error) {
	if !w.rq.commitBeforeWrite() {
		return 0, errNotSaved
	}
	return w.ResponseWriter.Write(b)
}

func (w *writer) Flush() {
	if !w.rq.commitBeforeWrite() {
		return
	}
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Hijack hands over the connection. Flamego's Before hooks do not run for it.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.rq.commitBeforeWrite() {
		return nil, nil, errNotSaved
	}
	conn, buf, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.rq.hijacked = true
		w.rq.seal() // an app that writes the header itself may take ours
	}
	return conn, buf, err
}

func (w *writer) Push(target string, opts *http.PushOptions) error {
	return w.rq.Context.ResponseWriter().Push(target, opts)
}

func (w *writer) Status() int                 { return w.rq.Context.ResponseWriter().Status() }
func (w *writer) Written() bool               { return w.rq.Context.ResponseWriter().Written() }
func (w *writer) Size() int                   { return w.rq.Context.ResponseWriter().Size() }
func (w *writer) Before(f flamego.BeforeFunc) { w.rq.Context.ResponseWriter().Before(f) }
