package otel_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/flamego/flamego"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/flamego/session"
	sessionotel "github.com/flamego/session/otel"
)

// The providers are the global ones, which the app has set up for all its libraries.
func ExampleInstrument() {
	opts := session.Options{
		Initer: session.FileIniter(),
		Config: session.FileConfig{RootDir: "sessions"},
	}
	if err := sessionotel.Instrument(&opts); err != nil {
		log.Fatal(err)
	}

	f := flamego.New()
	f.Use(session.Sessioner(opts))
	f.Get("/", func() string { return "Hello" })

	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Body)
	// Output:
	// Hello
}

// Only metrics, and read by hand. An app has a reader that sends them on.
func ExampleWithMeterProvider() {
	reader := metric.NewManualReader()
	var opts session.Options // sessions in memory, of which there are events only
	err := sessionotel.Instrument(&opts, sessionotel.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(reader))))
	if err != nil {
		log.Fatal(err)
	}
	f := flamego.New()
	f.Use(session.Sessioner(opts))
	f.Get("/", func(s session.Session) { s.Set("color", "blue") })
	f.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))

	var data metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &data); err != nil {
		log.Fatal(err)
	}
	for _, m := range data.ScopeMetrics[0].Metrics {
		for _, point := range m.Data.(metricdata.Sum[int64]).DataPoints {
			name, _ := point.Attributes.Value("session.event.name")
			fmt.Println(m.Name, name.AsString(), point.Value)
		}
	}
	// Output:
	// session.events created 1
}

// Only spans, without metrics.
func ExampleWithTracerProvider() {
	dir, err := os.MkdirTemp("", "sessions")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	spans := tracetest.NewSpanRecorder()
	opts := session.Options{Initer: session.FileIniter(), Config: session.FileConfig{RootDir: dir}}
	err = sessionotel.Instrument(&opts,
		sessionotel.WithTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(spans))),
		sessionotel.WithMeterProvider(noop.NewMeterProvider()))
	if err != nil {
		log.Fatal(err)
	}
	f := flamego.New()
	f.Use(session.Sessioner(opts))
	f.Get("/", func(s session.Session) { s.Set("color", "blue") })
	f.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))

	for _, span := range spans.Ended() {
		fmt.Println(span.Name())
	}
	// Output:
	// session insert
}
