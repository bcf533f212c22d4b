// Command metrics shows Prometheus what the sessions of an app do. It is a module of its own, as
// it needs the client of Prometheus.
//
//	curl -i -c jar -b jar -d name=alice localhost:2830/login
//	curl -b jar localhost:2830/
//	curl localhost:2831/metrics
package main

import (
	"cmp"
	"context"
	"log"
	"net/http"
	"time"

	"github.com/flamego/flamego"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/flamego/session"
)

// observe returns a function for Options.Observe that keeps the metrics. None of them has a label
// for the session or its user: each value of a label is a series of its own, which Prometheus
// keeps.
func observe(registry prometheus.Registerer) func(context.Context, session.Event) {
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "session_events_total",
		Help: "What became of sessions.",
	}, []string{"event"})
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "session_operation_duration_seconds",
		Help:    "How long operations of the session store take, with all their tries.",
		Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5},
	}, []string{"op", "result"})
	retries := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "session_operation_retries_total",
		Help: "How often the session store has repeated an operation.",
	}, []string{"op"})
	registry.MustRegister(events, durations, retries)

	// Prometheus sees how much a counter has grown only if it has seen the counter before.
	for op := session.OpCreated; op <= session.OpEvicted; op++ {
		events.WithLabelValues(op.String())
	}
	return func(_ context.Context, e session.Event) {
		op := e.Op.String()
		if !e.Op.IsOperation() {
			events.WithLabelValues(op).Inc()
			return
		}
		result := "ok"
		switch {
		case e.Err != nil:
			result = "error"
		case e.Refused:
			result = "refused"
		}
		durations.WithLabelValues(op, result).Observe(e.Duration.Seconds())
		retries.WithLabelValues(op).Add(float64(e.Tries - 1))
	}
}

// newApp returns the app, and what shows its metrics.
func newApp(opts session.Options) (*flamego.Flame, http.Handler) {
	registry := prometheus.NewRegistry()
	opts.Observe = observe(registry)

	f := flamego.Classic()
	f.Use(session.Sessioner(opts))
	f.Get("/", func(s session.Session) string {
		name, _ := session.Value[string](s, "name")
		return "Hello, " + cmp.Or(name, "stranger")
	})
	f.Post("/login", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
		s.Set("name", r.PostFormValue("name"))
		return s.RegenerateID(w, r)
	})
	f.Post("/logout", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
		return session.Destroy(w, r, s)
	})

	metrics := http.NewServeMux()
	metrics.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return f, metrics
}

func main() {
	f, metrics := newApp(session.Options{
		Initer:    session.FileIniter(),
		Config:    session.FileConfig{RootDir: "sessions"},
		ErrorFunc: func(err error) { log.Print(err) },
	})
	// Metrics are not for visitors, so they have an address of their own.
	server := &http.Server{Addr: "127.0.0.1:2831", Handler: metrics, ReadHeaderTimeout: 5 * time.Second}
	go func() { log.Fatal(server.ListenAndServe()) }()
	f.Run()
}
