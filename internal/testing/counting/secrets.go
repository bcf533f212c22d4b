package counting

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/tcpproxy"
)

// sqlWords are in no text that a visitor or an operator sees.
var sqlWords = []string{"SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WHERE ", "expired_at", "EVALSHA", "KEYS[", "$set", canary}

// Secrets tests that no error and no page shows a session ID, a password, a DSN
// or a statement, whatever goes wrong.
func (s *Server) Secrets(t *testing.T) {
	errGarbage := errors.New("not gob")
	garbage := func(session.Data) ([]byte, error) { return []byte("this is no gob: " + errGarbage.Error()), nil }
	for name, fail := range map[string]func(t *testing.T, a *app, p *tcpproxy.Proxy) []string{
		"outage": func(_ *testing.T, _ *app, p *tcpproxy.Proxy) []string {
			p.Stop()
			return []string{"/read", "/set", "/renew", "/logout", "/flash"}
		},
		"outage before the commit": func(_ *testing.T, a *app, p *tcpproxy.Proxy) []string {
			a.during = p.Stop
			return []string{"/set"}
		},
		"no answer": func(_ *testing.T, _ *app, p *tcpproxy.Proxy) []string {
			p.Set(tcpproxy.Mute)
			return []string{"/read"}
		},
		"no answer to the commit": func(_ *testing.T, a *app, p *tcpproxy.Proxy) []string {
			a.during = func() { p.Set(tcpproxy.Mute) }
			return []string{"/set"}
		},
		"data too large":    func(*testing.T, *app, *tcpproxy.Proxy) []string { return []string{"/large"} },
		"unregistered type": func(*testing.T, *app, *tcpproxy.Proxy) []string { return []string{"/unregistered"} },
		"unreadable data": func(t *testing.T, a *app, p *tcpproxy.Proxy) []string {
			other, err := newApp(t, s.Open(t, p.Addr(), garbage))
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			other.Cookie = a.Cookie
			other.ok("/set")
			return []string{"/read"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := s.proxy(t)
			opts := s.Open(t, p.Addr(), nil)
			opts.Timeout = 3 * time.Second
			a, err := newApp(t, opts)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			a.ok("/set")
			a.show(s.Hidden, fail(t, a, p)...)
		})
	}
	for name, open := range s.Bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := s.proxy(t)
			a, err := newApp(t, open(t, p.Addr()))
			if err != nil {
				NotShown(t, err, s.Hidden...)
				return
			}
			defer a.Close()
			a.sids = []string{"badbadbadbadbad0"}
			a.Cookie = "flamego_session=" + a.sids[0]
			a.show(s.Hidden, "/read", "/set")
		})
	}
}

// Broken is a store that breaks, of a kind that is on no server.
type Broken struct {
	// Open returns the options of a store, and Break breaks it.
	Open  func(testing.TB) session.Options
	Break func(testing.TB)
	// Fails are the pages that report an error then.
	Fails []string
	// Hidden must be in no error.
	Hidden []string
}

// Secrets tests that no error shows a session ID or data.
func (b Broken) Secrets(t *testing.T) {
	t.Helper()
	a, err := newApp(t, b.Open(t))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	a.ok("/set")
	b.Break(t)
	a.show(b.Hidden, b.Fails...)
}

// show makes requests of which each reports an error, and looks at what is seen.
func (a *app) show(hidden []string, paths ...string) {
	a.t.Helper()
	cookie := a.Cookie
	for _, path := range paths {
		a.Cookie = cookie
		w := a.get(path)
		errs := a.TakeErrors()
		if len(errs) == 0 {
			a.t.Errorf("%s: no error", path)
		}
		hidden := slices.Concat(a.sids, hidden)
		for _, err := range errs {
			a.t.Logf("%s: %v", path, err)
			NotShown(a.t, err, hidden...)
			if !strings.HasPrefix(err.Error(), "session: ") {
				a.t.Errorf("%s: the error does not say whose it is: %v", path, err)
			}
		}
		if w.Code != http.StatusOK && w.Body.String() != "Internal Server Error\n" {
			a.t.Errorf("%s: status %d with the body %q", path, w.Code, w.Body)
		}
		check(a.t, w.Body.String(), hidden)
	}
}

// NotShown tests that no secret is seen in an error, however it is shown: by package fmt,
// by encoding/json, by log/slog, and by those who send the texts of the whole chain.
func NotShown(t testing.TB, err error, hidden ...string) {
	t.Helper()
	for _, text := range shown(err) {
		check(t, text, hidden)
	}
}

// shown returns the texts by which an error may get out.
func shown(err error) []string {
	var texts []string
	holders := []any{err, struct{ Err error }{err}, &struct{ err error }{err}, []error{err}, map[string]any{"error": err}}
	for _, v := range holders {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
			texts = append(texts, fmt.Sprintf(verb, v))
		}
		if b, jsonErr := json.Marshal(v); jsonErr == nil {
			texts = append(texts, string(b))
		}
		var logged bytes.Buffer
		slog.New(slog.NewJSONHandler(&logged, nil)).Error("failed", "error", v)
		slog.New(slog.NewTextHandler(&logged, nil)).Error("failed", slog.Any("error", v))
		texts = append(texts, logged.String())
	}
	var walk func(error)
	walk = func(err error) {
		if err == nil {
			return
		}
		texts = append(texts, err.Error(), fmt.Sprintf("%#v", err))
		walk(errors.Unwrap(err))
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			for _, inner := range many.Unwrap() {
				walk(inner)
			}
		}
	}
	walk(err)
	return texts
}

func check(t testing.TB, text string, hidden []string) {
	t.Helper()
	if text == "" {
		return
	}
	for _, secret := range slices.Concat(sqlWords, hidden) {
		if secret != "" && strings.Contains(text, secret) {
			t.Errorf("%q is shown: %s", secret, text)
		}
	}
}
