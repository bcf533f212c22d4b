package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/users"
	"github.com/flamego/session/internal/testing/webapp"
)

// opened is a stream of events that is read as it comes.
type opened struct {
	*bufio.Reader
	ended chan struct{}
}

// pipeWriter is a response that goes through a pipe.
type pipeWriter struct {
	*httptest.ResponseRecorder
	pipe io.Writer
}

func (w pipeWriter) Write(p []byte) (int, error) { return w.pipe.Write(p) }

func open(ctx context.Context, app http.Handler, cookie string) opened {
	r := httptest.NewRequestWithContext(ctx, "GET", "/events", nil)
	r.Header.Set("Cookie", cookie)
	in, out := io.Pipe()
	o := opened{bufio.NewReader(in), make(chan struct{})}
	go func() {
		defer close(o.ended)
		defer out.Close()
		app.ServeHTTP(pipeWriter{httptest.NewRecorder(), out}, r)
	}()
	return o
}

// next reads an event.
func (o opened) next(t *testing.T) {
	t.Helper()
	line, err := o.ReadString('\n')
	require.NoError(t, err)
	require.Regexp(t, "^data: 2", line)
	_, err = o.ReadString('\n')
	require.NoError(t, err)
}

// requireEnd checks that there are no more events.
func (o opened) requireEnd(t *testing.T) {
	t.Helper()
	_, err := io.ReadAll(o)
	require.NoError(t, err)
	<-o.ended
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sessions, err := session.New()
		require.NoError(t, err)
		defer sessions.Close()
		stopping, stop := context.WithCancel(t.Context())
		app := newApp(stopping, sessions, users.NewWithHash(users.Plain))
		login := func() *webapp.Browser {
			v := webapp.NewBrowser(t, app)
			require.Equal(t, http.StatusOK, v.Do(webapp.Form("/login", "name=alice&password="+users.Password)).Code)
			return v
		}

		assert.Equal(t, http.StatusUnauthorized, webapp.NewBrowser(t, app).Get("/events").Code)

		v, other := login(), login()
		mine, theirs := open(t.Context(), app, v.Cookie), open(t.Context(), app, other.Cookie)
		for range 5 {
			mine.next(t)
			theirs.next(t)
		}
		v.Do(webapp.Form("/logout", ""))
		start := time.Now()
		mine.requireEnd(t)
		assert.LessOrEqual(t, time.Since(start), interval)
		theirs.next(t)

		// A login renews the ID. The page connects again.
		other.Do(webapp.Form("/login", "name=alice&password="+users.Password))
		theirs.requireEnd(t)
		theirs = open(t.Context(), app, other.Cookie)
		theirs.next(t)
		stop()
		theirs.requireEnd(t)

		ctx, hangUp := context.WithCancel(t.Context())
		gone := open(ctx, newApp(t.Context(), sessions, users.NewWithHash(users.Plain)), other.Cookie)
		gone.next(t)
		hangUp()
		gone.requireEnd(t)
	})
}
