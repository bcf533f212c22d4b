package session

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"strconv"
)

// failure is the answer to a request whose session could not be loaded or saved. It is what
// Options.FailFunc writes to. It is kept until the function has returned, so that the length is
// known, and nothing is sent of an answer that fails in the middle.
type failure struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (f *failure) Header() http.Header { return f.header }

// WriteHeader sets the status. As on the network, only the first one counts, and one below 200 is
// none.
func (f *failure) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("session: FailFunc has set the status %d", status)) // as net/http does
	}
	if f.status == 0 && status >= 200 {
		f.status = status
	}
}

func (f *failure) Write(b []byte) (int, error) {
	f.WriteHeader(http.StatusInternalServerError)
	return f.body.Write(b)
}

const errorBody = "Internal Server Error\n"

// failure returns the answer of the app or, if it has none, one that says nothing of the
// error. The header of the response is that of the answer then.
func (rq *request) failure() *failure {
	h := rq.Context.ResponseWriter().Header()
	f := &failure{header: h}
	answer, before := rq.m.opts.FailFunc, h.Clone()
	if answer == nil || !rq.answered(answer, f) || f.status == 0 {
		clear(h)
		maps.Copy(h, before)
		*f = failure{header: h, status: http.StatusInternalServerError}
		f.body.WriteString(errorBody)
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("X-Content-Type-Options", "nosniff")
	}
	if f.status != http.StatusNoContent && f.status != http.StatusNotModified {
		h.Set("Content-Length", strconv.Itoa(f.body.Len()))
	}
	return f
}

// answered lets the app answer, and reports whether it has done so without a panic.
func (rq *request) answered(answer func(http.ResponseWriter, *http.Request), f *failure) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			rq.m.opts.ErrorFunc(fmt.Errorf("session: FailFunc panicked with a %T", v))
		}
	}()
	answer(f, rq.Request().Request)
	return true
}
