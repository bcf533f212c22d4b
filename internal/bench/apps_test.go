package bench

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/flamego/flamego"
	"github.com/gorilla/sessions"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/webapp"
)

// oursApp is an app with this library.
func oursApp(tb testing.TB, opts session.Options) *app {
	opts.ErrorFunc = func(err error) { tb.Error(err) }
	f := webapp.New(tb, opts)
	f.Get(pathNew, func() string { return untouched })
	for _, rt := range routes {
		f.Get(rt.path, func(s session.Session, r *http.Request) string { return rt.serve(s, r) })
	}
	return &app{Handler: f.Flame, via: "ours", keepsAll: true, store: f.Store(), cookie: ourCookie}
}

// answers are what an app without sessions says in place of one that has them.
var answers = map[string]string{pathNew: untouched, pathRead: userName, pathSet: saved, pathLogin: saved}

// flamegoApp is Flamego alone: what ours costs is what it takes longer.
func flamegoApp() *app {
	f := flamego.NewWithLogger(io.Discard)
	for path, answer := range answers {
		f.Get(path, func() string { return answer })
	}
	return &app{Handler: f, via: "bare", stateless: true}
}

// netHTTPApp is package net/http alone: what scs and gorilla cost is what they take
// longer.
func netHTTPApp() *app {
	mux := http.NewServeMux()
	for path, answer := range answers {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
	}
	return &app{Handler: mux, via: "nethttp", stateless: true}
}

// scsValues is a session of scs.
type scsValues struct {
	*scs.SessionManager
	ctx context.Context
}

func (v *scsValues) Get(key interface{}) interface{} {
	return v.SessionManager.Get(v.ctx, key.(string))
}

func (v *scsValues) Set(key, val interface{}) { v.Put(v.ctx, key.(string), val) }

// scsApp is an app with scs; without a store it has the one that scs has.
func scsApp(via string, idle time.Duration, store scs.Store) *app {
	sm := scs.New()
	sm.IdleTimeout = idle
	if store != nil {
		sm.Store = store
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathNew, serveUntouched)
	for _, rt := range routes {
		mux.HandleFunc("GET "+rt.path, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, rt.serve(&scsValues{sm, r.Context()}, r))
		})
	}
	return &app{Handler: sm.LoadAndSave(mux), via: via, cookie: scsCookie}
}

// gorillaValues is a session of gorilla.
type gorillaValues map[interface{}]interface{}

func (v gorillaValues) Get(key interface{}) interface{} { return v[key] }
func (v gorillaValues) Set(key, val interface{})        { v[key] = val }

// gorillaApp is an app with gorilla/sessions. It has no middleware: a page asks
// for the session and saves it, which a visitor who is left untouched is spared.
func gorillaApp(store sessions.Store) *app {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathNew, func(w http.ResponseWriter, r *http.Request) {
		if _, err := store.Get(r, "session"); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		serveUntouched(w, r)
	})
	for _, rt := range routes {
		mux.HandleFunc("GET "+rt.path, func(w http.ResponseWriter, r *http.Request) {
			sess, err := store.Get(r, "session")
			body := ""
			if err == nil {
				body = rt.serve(gorillaValues(sess.Values), r)
				if rt.writes {
					err = sess.Save(r, w)
				}
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			_, _ = io.WriteString(w, body)
		})
	}
	return &app{Handler: mux, via: "gorilla"}
}

func serveUntouched(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, untouched) }

var gorillaKey = []byte("0123456789abcdef0123456789abcdef")
