package bench

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// jar is the cookie of one browser, for all requests it makes at once.
type jar struct {
	mu     sync.Mutex
	cookie string
}

func (j *jar) get() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cookie
}

func (j *jar) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cookie = ""
}

// take keeps the cookie of a response, which is the last of those it sets.
func (j *jar) take(h http.Header) {
	lines := h["Set-Cookie"]
	if len(lines) == 0 {
		return
	}
	cookie, _, _ := strings.Cut(lines[len(lines)-1], ";")
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cookie = cookie
}

// recorder is a response writer that costs next to nothing.
type recorder struct {
	header http.Header
	status int
	body   []byte
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	r.body = append(r.body, p...)
	return len(p), nil
}

// WriteString spares the caller a copy, as net/http's own writer does.
func (r *recorder) WriteString(s string) (int, error) {
	r.WriteHeader(http.StatusOK)
	r.body = append(r.body, s...)
	return len(s), nil
}

// visitor makes one request after the other, with a key for those that write.
// Several may share a jar.
type visitor struct {
	app      http.Handler
	jar      *jar
	recorder recorder
	template http.Request
	url      url.URL
	// The values of the headers, so that no request has to make them.
	cookies, keys, vals [1]string
}

func newVisitor(app http.Handler, j *jar, key string) *visitor {
	v := &visitor{app: app, jar: j, recorder: recorder{header: make(http.Header)}}
	v.keys[0] = key
	v.template = http.Request{
		Method: http.MethodGet, URL: &v.url, Host: "localhost", RequestURI: "/", RemoteAddr: "127.0.0.1:1",
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header), Body: http.NoBody,
	}
	return v
}

// get makes a request and compares the answer, of which the cookie is kept.
func (v *visitor) get(path, val, want string) error {
	if err := v.send(path, val); err != nil {
		return err
	}
	if string(v.recorder.body) != want {
		return fmt.Errorf("%s answers %q, want %q", path, v.recorder.body, want)
	}
	return nil
}

func (v *visitor) send(path, val string) error {
	v.url.Path = path
	h := v.template.Header
	if v.cookies[0] = v.jar.get(); v.cookies[0] != "" {
		h["Cookie"] = v.cookies[:]
	} else {
		delete(h, "Cookie")
	}
	if val != "" {
		v.vals[0] = val
		h[keyHeader], h[valueHeader] = v.keys[:], v.vals[:]
	}

	rec := &v.recorder
	clear(rec.header)
	rec.status, rec.body = 0, rec.body[:0]
	r := v.template // a request of its own each time: some libraries write to it
	v.app.ServeHTTP(rec, &r)
	if rec.status != http.StatusOK {
		return fmt.Errorf("%s answers with status %d: %s", path, rec.status, rec.body)
	}
	v.jar.take(rec.header)
	return nil
}
