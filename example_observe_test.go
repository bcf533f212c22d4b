package session_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// A log of what becomes of sessions. At the level Debug it has each operation on the database, too.
func ExampleLogEvents() {
	f := flamego.New()
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "session" { // they differ each time
				return slog.Attr{}
			}
			return a
		},
	}))
	f.Use(session.Sessioner(session.Options{Observe: session.LogEvents(logger)}))
	f.Get("/login", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
		s.Set("user_id", 42)
		return s.RegenerateID(w, r)
	})
	f.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/login", nil))
	// Output:
	// level=INFO msg=session op=created
}
