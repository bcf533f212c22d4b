package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/attempts"
	"github.com/flamego/session/internal/testing/mapbackend"
	"github.com/flamego/session/internal/testing/webapp"
)

// scrape returns all series but the buckets and the sums of times.
func scrape(t *testing.T, metrics http.Handler) map[string]int {
	t.Helper()
	w := webapp.NewBrowser(t, metrics).Get("/metrics")
	require.Equal(t, http.StatusOK, w.Code)
	all := make(map[string]int)
	for line := range strings.Lines(w.Body.String()) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		if strings.HasPrefix(line, "#") || strings.Contains(series, "_bucket") {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		require.NoError(t, err, line)
		if strings.Contains(series, "_sum{") {
			require.Greater(t, n, 0.0)
			require.Less(t, n, 60.0, "seconds")
			continue
		}
		all[strings.TrimPrefix(series, "session_")+"}"] = int(n)
	}
	return all
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	b := mapbackend.New()
	f, metrics := newApp(session.Options{
		Config: session.StoreConfig{},
		Initer: session.NewIniter(func(_ context.Context, config session.StoreConfig) (session.Backend, session.StoreConfig, error) {
			return b, config, nil
		}),
	})
	want := map[string]int{
		`events_total{event="created"}`: 0, `events_total{event="renewed"}`: 0, `events_total{event="ended"}`: 0,
		`events_total{event="vanished"}`: 0, `events_total{event="unknown ID"}`: 0, `events_total{event="unreadable"}`: 0,
		`events_total{event="evicted"}`: 0,
	}
	require.Equal(t, want, scrape(t, metrics))

	add := func(changes map[string]int) {
		t.Helper()
		for series, n := range changes {
			want[series] += n
		}
		require.Equal(t, want, scrape(t, metrics))
	}
	v := webapp.NewBrowser(t, f)
	login := func() { require.Equal(t, http.StatusOK, v.Do(webapp.Form("/login", "name=alice")).Code) }
	login()
	add(map[string]int{
		`events_total{event="created"}`:                             1,
		`operation_duration_seconds_count{op="insert",result="ok"}`: 1, `operation_retries_total{op="insert"}`: 0,
	})
	login()
	require.Equal(t, "Hello, alice", v.Get("/").Body.String())
	add(map[string]int{
		`events_total{event="renewed"}`:                           1,
		`operation_duration_seconds_count{op="load",result="ok"}`: 2, `operation_retries_total{op="load"}`: 0,
		`operation_duration_seconds_count{op="rename",result="ok"}`: 1, `operation_retries_total{op="rename"}`: 0,
		`operation_duration_seconds_count{op="insert",result="ok"}`: 1, // the mark of the old ID
	})
	old := v.Cookie
	require.Equal(t, http.StatusOK, v.Do(webapp.Form("/logout", "")).Code)
	add(map[string]int{
		`events_total{event="ended"}`:                               1,
		`operation_duration_seconds_count{op="load",result="ok"}`:   1,
		`operation_duration_seconds_count{op="delete",result="ok"}`: 1, `operation_retries_total{op="delete"}`: 0,
	})
	v.Cookie = old
	require.Equal(t, "Hello, stranger", v.Get("/").Body.String())
	add(map[string]int{
		`events_total{event="unknown ID"}`:                             1,
		`operation_duration_seconds_count{op="load",result="refused"}`: 1,
	})
	b.Before = func(ctx context.Context, _, _ string) error {
		attempts.Again(ctx)
		attempts.Again(ctx)
		return errors.New("down")
	}
	v.Cookie = old
	require.Equal(t, http.StatusInternalServerError, v.Get("/").Code)
	add(map[string]int{
		`operation_duration_seconds_count{op="load",result="error"}`: 1, `operation_retries_total{op="load"}`: 2,
	})
}

// The alerts of docs/operations.md are for metrics, labels and values that there are.
func TestAlerts(t *testing.T) {
	t.Parallel()
	f, metrics := newApp(session.Options{
		Initer: session.FileIniter(),
		Config: session.FileConfig{RootDir: t.TempDir()},
	})
	v := webapp.NewBrowser(t, f)
	v.Do(webapp.Form("/login", "name=alice"))
	v.Get("/")
	shown := webapp.NewBrowser(t, metrics).Get("/metrics").Body.String()

	page, err := os.ReadFile("../../operations.md")
	require.NoError(t, err)
	_, alerts, _ := strings.Cut(string(page), "**Alerts**")
	alerts, _, _ = strings.Cut(alerts, "## PostgreSQL")
	named := regexp.MustCompile(`\b(session_\w+)(?:\{(.*?)\})?\[`).FindAllStringSubmatch(alerts, -1)
	require.Len(t, named, 7)
	for _, match := range named {
		require.Contains(t, shown, "\n"+match[1]+"{", match[0])
		if match[2] == `result="error"` { // there is none yet
			continue
		}
		require.Contains(t, shown, match[2], match[0])
	}
}
