package session

import (
	"errors"
	"io"
	"net/http"
	"strconv"
)

// What becomes of a request whose session cannot be saved, or whose handler panics.

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
	rq.informCaches()
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

// abort undoes what the handlers did to the session, after a panic. The flash
// is given back, unless a response has begun that may show it.
func (rq *request) abort() {
	rq.mu.Lock()
	defer rq.mu.Unlock()
	if rq.aborted {
		return
	}
	rq.aborted = true
	if rq.begun() {
		return
	}
	w := rq.Context.ResponseWriter()
	if rq.m.writesCookie && rq.sess.ID() != rq.readAs {
		rq.m.cookie.drop(w.Header())
		if rq.fresh {
			rq.m.cookie.write(w.Header(), rq.readAs)
		}
	}
	if rq.flash != nil {
		rq.returnFlash(rq.flash)
	}
}

// returnFlash gives back a flash that nobody has seen, for the next request.
func (rq *request) returnFlash(flash Flash) {
	if rq.m.native == nil { // it is not taken before the commit
		return
	}
	rq.base.discard()
	if err := rq.m.native.giveFlash(rq.uncancelled(), rq.base, flash); err != nil {
		rq.m.opts.ErrorFunc(err)
	}
}
