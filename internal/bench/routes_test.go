package bench

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// values is a session as the handlers see it, the same for all subjects.
type values interface {
	Get(key interface{}) interface{}
	Set(key, val interface{})
}

// What the six values of a session are, and what requests get to see of them.
const (
	userName    = "alice"
	firstVisits = int64(42)
	saved       = "saved"
	untouched   = "ok"
)

var lastSeen = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// fill sets the six values.
func fill(v values) {
	v.Set("user_id", 123)
	v.Set("name", userName)
	v.Set("admin", false)
	v.Set("csrf", "0123456789abcdef")
	v.Set("visits", firstVisits)
	v.Set("seen", lastSeen)
}

// The headers that say what a writer writes. A query would have to be parsed.
const (
	keyHeader   = "X-Key"
	valueHeader = "X-Value"
)

// writers is how many write to one session at once, each a key of its own.
const writers = 8

var writerKeys = func() (keys [writers]string) {
	for i := range keys {
		keys[i] = fmt.Sprint("writer", i)
	}
	return keys
}()

// route is a handler that uses a session.
type route struct {
	path   string
	writes bool
	serve  func(v values, r *http.Request) string
}

// The routes of each app. One more, pathNew, does not look at the session.
const (
	pathRead   = "/read"
	pathSet    = "/set"
	pathVisits = "/visits"
	pathNew    = "/new"
	pathLogin  = "/login"
	pathWrite  = "/write"
	pathKept   = "/kept"

	pathFill         = "/fill"
	pathReadStruct   = "/struct/read"
	pathSetStruct    = "/struct/set"
	pathVisitsStruct = "/struct/visits"
)

var routes = append(shapeRoutes, []route{
	{pathRead, false, func(v values, _ *http.Request) string {
		name, _ := v.Get("name").(string)
		return name
	}},
	{pathSet, true, func(v values, _ *http.Request) string {
		n, _ := v.Get("visits").(int64)
		v.Set("visits", n+1)
		return saved
	}},
	{pathVisits, false, func(v values, _ *http.Request) string {
		n, _ := v.Get("visits").(int64)
		return strconv.FormatInt(n, 10)
	}},
	{pathLogin, true, func(v values, _ *http.Request) string {
		fill(v)
		return saved
	}},
	{pathWrite, true, func(v values, r *http.Request) string {
		v.Set(r.Header.Get(keyHeader), r.Header.Get(valueHeader))
		return saved
	}},
	{pathKept, false, func(v values, r *http.Request) string {
		kept, want := 0, r.Header.Get(valueHeader)
		for _, key := range writerKeys {
			if v.Get(key) == want {
				kept++
			}
		}
		return strconv.Itoa(kept)
	}},
}...)
