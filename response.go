package session

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
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
	triedCommit bool        // our writer has committed, or tried to, before it let the response begin
	refused     bool        // the response is our 500
	gone        atomic.Bool // the response is no longer ours: the connection was hijacked, or it was broken off
}

// begun reports whether it is too late for another status or header.
func (rq *request) begun() bool {
	return rq.gone.Load() || rq.Context.ResponseWriter().Written()
}

// commitBeforeWrite commits before the response begins, and reports whether the handler may
// write: it may not once the commit has failed and the response is our 500.
func (rq *request) commitBeforeWrite() bool {
	if !rq.begun() {
		rq.triedCommit = true
		if !rq.commit() {
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
		if !rq.commit() && rq.m.writesCookie {
			rq.m.cookie.drop(w.Header())
		}
	}
	rq.seal()
}

// refuse answers with status 500 and the body of Options.FailFunc, or a generic one. It is sent
// with its length, which keeps out what middleware before us has yet to write, such as the end
// of a gzip stream.
func (rq *request) refuse() {
	rq.refused = true
	w := rq.Context.ResponseWriter()
	dropPageHeaders(w.Header())
	if rq.failed && rq.m.writesCookie {
		rq.m.cookie.drop(w.Header()) // the ID that it tells of is not stored
	}
	rq.seal()
	answer := rq.failure()
	w.WriteHeader(answer.status)
	_, _ = w.Write(answer.body.Bytes())
	w.Flush()
}

// siteHeaders are the headers that stay on the 500, in lower case; a * at the end stands for
// any rest. They tell of the site, the client, the connection or the request. Any other header
// may tell of the page that is not sent: what it is, where it is, how long to keep it, what to
// do with it. Nobody can list all of those, so the list has the headers that stay.
var siteHeaders = strings.Fields(`
	set-cookie vary access-control-* timing-allow-origin
	date server via alt-svc x-powered-by x-served-by
	strict-transport-security expect-ct content-security-policy content-security-policy-report-only
	cross-origin-* origin-agent-cluster permissions-policy permissions-policy-report-only feature-policy
	document-policy document-policy-report-only referrer-policy accept-ch critical-ch
	x-content-type-options x-frame-options x-xss-protection x-dns-prefetch-control
	x-permitted-cross-domain-policies x-download-options x-robots-tag
	nel report-to reporting-endpoints server-timing
	request-id x-request-id correlation-id x-correlation-id x-trace-id
	traceparent tracestate traceresponse b3 x-b3-* x-amzn-trace-id x-cloud-trace-context uber-trace-id
	ratelimit ratelimit-* x-ratelimit-* x-rate-limit-*
`)

// isOfSite reports whether a header, in any case, is one of these.
func isOfSite(key string) bool {
	name := strings.ToLower(key)
	return slices.ContainsFunc(siteHeaders, func(s string) bool {
		prefix, open := strings.CutSuffix(s, "*")
		return name == s || open && strings.HasPrefix(name, prefix)
	})
}

// dropPageHeaders drops what tells of the page that is not sent.
func dropPageHeaders(h http.Header) {
	for key, values := range h {
		switch {
		case strings.EqualFold(key, "connection") && slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, "close") }):
			h[key] = []string{"close"} // and not what belongs to an Upgrade
		case !isOfSite(key):
			delete(h, key)
		}
	}
}

// dropTrailers drops what a handler has added since the 500 was sent, and what HTTP/2
// would send after it.
func dropTrailers(h http.Header) {
	for key := range h {
		if strings.HasPrefix(key, http.TrailerPrefix) {
			delete(h, key)
		}
	}
}

var errTooLate = errors.New("session: the response began before the session could be saved")

// breakOff ends a response that has begun so that the client does not take it for a
// success: it resets the connection, or the stream where the connection belongs to
// several requests (HTTP/2). ErrorFunc knows why. To panic is the last resort, as a
// Recovery would end the response like any other.
//
// The deadline for writing that has passed is what resets a stream. In HTTP/1 it keeps
// back what is still in the buffer of the server, which Hijack would send: that may be
// the header of a redirect, or all of the body.
func (rq *request) breakOff() {
	if rq.gone.Load() {
		return
	}
	w := rq.Context.ResponseWriter()
	expired := expire(w)
	conn := hijack(w)
	switch {
	case conn != nil:
		reset(conn)
	case !expired:
		// The server is out of reach. Where somebody holds the response back until the
		// handlers are done, as http.TimeoutHandler does, the server will see a length
		// that is not met, and break off by itself, even if a Recovery is in between.
		w.Header().Set("Content-Length", strconv.Itoa(w.Size()+1))
		panic(errTooLate)
	}
	rq.gone.Store(true)
}

// expire sets a deadline for writing that has passed.
func expire(w http.ResponseWriter) bool {
	for ; w != nil; w = unwrapWriter(w) {
		d, ok := w.(interface{ SetWriteDeadline(time.Time) error })
		if ok && d.SetWriteDeadline(time.Unix(1, 0)) == nil {
			return true
		}
	}
	return false
}

// hijack takes the connection over, and returns nil where that is not possible.
func hijack(w http.ResponseWriter) net.Conn {
	for ; w != nil; w = unwrapWriter(w) {
		if h, ok := w.(http.Hijacker); ok {
			if conn, _, err := h.Hijack(); err == nil {
				return conn
			}
		}
	}
	return nil
}

// reset closes a connection by an RST. The end that Close makes is a proper one: to a
// client of HTTP/1.0, such as nginx, it is where the body ends. Where no TCP connection
// is found, such as at a Unix socket, there is only Close.
//
// Below TLS, whose Close says goodbye (close_notify), an RST is not enough: nginx takes
// it for an end, too. No client takes an alert that is not encrypted for one.
func reset(conn net.Conn) {
	for inner := conn; inner != nil; inner = unwrapConn(inner) {
		if c, ok := inner.(*tls.Conn); ok {
			_ = c.NetConn().SetWriteDeadline(time.Now().Add(5 * time.Second))
			if _, err := c.NetConn().Write([]byte(badAlert)); err == nil {
				break // an RST might overtake the alert
			}
		}
		if tcp, ok := inner.(interface{ SetLinger(sec int) error }); ok {
			_ = tcp.SetLinger(0)
			_ = inner.Close()
			break
		}
	}
	_ = conn.Close() // whoever has wrapped it may count
}

// badAlert is the alert internal_error of TLS as it would be sent before the keys are
// agreed on.
const badAlert = "\x15\x03\x03\x00\x02\x02\x50"

// unwrapper is what ResponseController looks for in a writer that wraps another.
type unwrapper interface{ Unwrap() http.ResponseWriter }

// unwrapWriter returns what a writer wraps, or nil.
func unwrapWriter(w http.ResponseWriter) http.ResponseWriter {
	if u, ok := w.(unwrapper); ok {
		return u.Unwrap()
	}
	inner, _ := embedded(w, "ResponseWriter").(http.ResponseWriter)
	return inner
}

// unwrapConn returns what a connection wraps, or nil.
func unwrapConn(c net.Conn) net.Conn {
	if u, ok := c.(interface{ NetConn() net.Conn }); ok {
		return u.NetConn()
	}
	inner, _ := embedded(c, "Conn").(net.Conn)
	return inner
}

// embedded returns what a struct embeds under a name, or nil. Not all wrappers have a
// method for it, and Flamego's writer is one that has none.
func embedded(wrapper any, name string) any {
	v := reflect.Indirect(reflect.ValueOf(wrapper))
	if v.Kind() != reflect.Struct {
		return nil
	}
	field, ok := v.Type().FieldByName(name)
	if !ok {
		return nil
	}
	inner, err := v.FieldByIndexErr(field.Index)
	if err != nil || !inner.CanInterface() {
		return nil
	}
	return inner.Interface()
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

func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController calls to flush.
func (w *writer) FlushError() error {
	if !w.rq.commitBeforeWrite() {
		return errNotSaved
	}
	switch w.ResponseWriter.(type) {
	case http.Flusher, interface{ FlushError() error }:
	case unwrapper:
		// What is flushed may be the server's own writer, past Flamego's, whose hooks
		// have headers to add.
		if !w.rq.begun() {
			w.ResponseWriter.WriteHeader(http.StatusOK)
		}
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController: the writer of middleware before us may know
// the deadlines of the server. What writes, or takes over the connection, has a method
// here, since it must not pass the commit by.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack hands over the connection. Flamego's Before hooks do not run for it.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.rq.commitBeforeWrite() {
		return nil, nil, errNotSaved
	}
	conn, buf, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.rq.gone.Store(true)
		w.rq.seal() // an app that writes the header itself may take ours
	}
	return conn, buf, err
}

func (w *writer) Push(target string, opts *http.PushOptions) error {
	return w.rq.Context.ResponseWriter().Push(target, opts)
}

// Before registers a hook. What it says of the page is not for our 500.
func (w *writer) Before(f flamego.BeforeFunc) {
	w.rq.Context.ResponseWriter().Before(func(inner flamego.ResponseWriter) {
		if !w.rq.refused {
			f(inner)
			return
		}
		ours := inner.Header().Clone()
		f(inner)
		h := inner.Header()
		dropPageHeaders(h)
		for key, values := range ours {
			if !isOfSite(key) || key == "X-Content-Type-Options" { // else the hook may have added to it
				h[key] = values
			}
		}
	})
}

func (w *writer) Status() int   { return w.rq.Context.ResponseWriter().Status() }
func (w *writer) Written() bool { return w.rq.Context.ResponseWriter().Written() }
func (w *writer) Size() int     { return w.rq.Context.ResponseWriter().Size() }
