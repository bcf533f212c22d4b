package otel_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	api "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	apimetric "go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/attempts"
	"github.com/flamego/session/internal/testing/mapbackend"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/internal/testing/webapp"
	"github.com/flamego/session/otel"
	sessionredis "github.com/flamego/session/redis"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// sight is what OpenTelemetry has seen of an app.
type sight struct {
	t      *testing.T
	spans  *tracetest.SpanRecorder
	traces *sdktrace.TracerProvider
	reader *metric.ManualReader
	meters *metric.MeterProvider
}

func newSight(t *testing.T) *sight {
	s := &sight{t: t, spans: tracetest.NewSpanRecorder(), reader: metric.NewManualReader()}
	s.traces = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(s.spans))
	s.meters = metric.NewMeterProvider(metric.WithReader(s.reader))
	return s
}

// app is an app that is seen. A span of each request is around its sessions.
type app struct {
	*webapp.App
	sight *sight
}

func (s *sight) app(opts session.Options) *app {
	require.NoError(s.t, otel.Instrument(&opts, otel.WithTracerProvider(s.traces), otel.WithMeterProvider(s.meters)))
	a := webapp.New(s.t, opts)
	a.Get("/add", func(sess session.Session) {
		session.Update(sess, "qzkey", func(n int) int { return n + 1 })
		sess.Set("qzvalue", "qzvalue")
	})
	a.Get("/login", func(w http.ResponseWriter, r *http.Request, sess session.Session) error {
		sess.Set("user", "qzowner")
		return sess.RegenerateID(w, r)
	})
	a.Get("/see", func(sess session.Session) string { return fmt.Sprint(sess.Get("user")) })
	a.Get("/owned", func(r *http.Request, store session.Store) (string, error) {
		infos, err := session.Owned(r.Context(), store, "qzowner")
		return fmt.Sprint(len(infos)), err
	})
	a.Get("/logout", func(w http.ResponseWriter, r *http.Request, sess session.Session) error {
		return session.Destroy(w, r, sess)
	})
	return &app{a, s}
}

// ServeHTTP begins the span of a request.
func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, span := a.sight.traces.Tracer("test").Start(r.Context(), "GET "+r.URL.Path)
	defer span.End()
	a.App.ServeHTTP(w, r.WithContext(ctx))
}

// visitor is one who has not been there.
func (a *app) visitor() *webapp.Browser { return webapp.NewBrowser(a.sight.t, a) }

// metrics are all that the reader has: for each name and its attributes the sum of a counter, or
// how many values a histogram has. A series is written as "name: a=b,c=d".
func (s *sight) metrics() map[string]int {
	var data metricdata.ResourceMetrics
	require.NoError(s.t, s.reader.Collect(s.t.Context(), &data))
	all := make(map[string]int)
	for _, scope := range data.ScopeMetrics {
		require.Equal(s.t, "github.com/flamego/session/otel", scope.Scope.Name)
		for _, m := range scope.Metrics {
			switch points := m.Data.(type) {
			case metricdata.Sum[int64]:
				require.True(s.t, points.IsMonotonic)
				for _, p := range points.DataPoints {
					all[m.Name+": "+p.Attributes.Encoded(attribute.DefaultEncoder())] = int(p.Value)
				}
			case metricdata.Histogram[int64]:
				for _, p := range points.DataPoints {
					all[m.Name+": "+p.Attributes.Encoded(attribute.DefaultEncoder())] = int(p.Count)
					all[m.Name+" "+m.Unit] += int(p.Sum)
				}
			case metricdata.Histogram[float64]:
				for _, p := range points.DataPoints {
					require.Greater(s.t, p.Sum, 0.0)
					require.Less(s.t, p.Sum, 60.0, "seconds")
					all[m.Name+": "+p.Attributes.Encoded(attribute.DefaultEncoder())] = int(p.Count)
				}
			default:
				s.t.Fatalf("%s is a %T", m.Name, points)
			}
		}
	}
	return all
}

// lasted is the series of a duration that was not refused and did not fail.
func lasted(op string) string {
	return "session.operation.duration: session.operation.name=" + op + ",session.operation.refused=false"
}

// visit is a visitor who stores something, logs in, uses the session and logs out.
func visit(t *testing.T, b *webapp.Browser) {
	t.Helper()
	for _, path := range []string{"/add", "/login", "/add", "/see", "/logout"} {
		require.Equal(t, http.StatusOK, b.Get(path).Code, path)
	}
}

// visited are the events of a visit, and its operations on a database.
var (
	visitedEvents = map[string]int{"created": 1, "renewed": 1, "ended": 1}
	visitedOps    = map[string]int{"insert": 2, "load": 4, "rename": 1, "swap": 1, "delete": 1}
)

// events takes the events out of metrics.
func events(all map[string]int) map[string]int {
	found := make(map[string]int)
	for series, n := range all {
		if name, ok := strings.CutPrefix(series, "session.events: session.event.name="); ok {
			found[name] = n
			delete(all, series)
		}
	}
	return found
}

// durations takes the durations out of metrics. None of them is of an operation that was refused
// or failed.
func durations(all map[string]int) map[string]int {
	found := make(map[string]int)
	for series, n := range all {
		name, ok := strings.CutPrefix(series, "session.operation.duration: session.operation.name=")
		if name, ok2 := strings.CutSuffix(name, ",session.operation.refused=false"); ok && ok2 {
			found[name] = n
			delete(all, series)
		}
	}
	return found
}

// times returns a map with all numbers multiplied.
func times(n int, counts map[string]int) map[string]int {
	all := make(map[string]int)
	for name, count := range counts {
		all[name] = n * count
	}
	return all
}

// on are the options of an app whose sessions are in a backend.
func on(b session.Backend) session.Options {
	return session.Options{Config: session.StoreConfig{}, Initer: session.NewIniter(
		func(_ context.Context, config session.StoreConfig) (session.Backend, session.StoreConfig, error) {
			return b, config, nil
		},
	)}
}

// counted is a backend that counts its operations, and the bytes of what it has read and written.
type counted struct {
	session.Backend
	mu    sync.Mutex
	ops   map[string]int
	bytes int
}

func (c *counted) add(op string, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ops[op]++
	c.bytes += len(data)
}

func (c *counted) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	rec, found, err := c.Backend.Load(ctx, sid)
	c.add("load", rec.Data)
	return rec, found, err
}

func (c *counted) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	c.add("insert", rec.Data)
	return c.Backend.Insert(ctx, sid, rec)
}

func (c *counted) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	c.add("swap", rec.Data)
	return c.Backend.Swap(ctx, sid, old, rec)
}

func (c *counted) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	c.add("rename", rec.Data)
	return c.Backend.Rename(ctx, sid, newSID, old, rec)
}

func (c *counted) Delete(ctx context.Context, sid string) error {
	c.add("delete", nil)
	return c.Backend.Delete(ctx, sid)
}

// The metrics of a visit are what the backend has counted, for one visitor and for several at the
// same time.
func TestVisit(t *testing.T) {
	t.Parallel()
	for _, visitors := range []int{1, 8} {
		s, b := newSight(t), &counted{Backend: mapbackend.New(), ops: make(map[string]int)}
		app := s.app(on(b))
		var wg sync.WaitGroup
		for range visitors {
			wg.Go(func() { visit(t, app.visitor()) })
		}
		wg.Wait()
		require.Equal(t, times(visitors, visitedOps), b.ops)
		all := s.metrics()
		require.Equal(t, times(visitors, visitedEvents), events(all))
		require.Equal(t, b.ops, durations(all))
		require.Equal(t, b.bytes, all["session.data.size By"])
		delete(all, "session.data.size By")
		for _, op := range []string{"load", "insert", "swap", "rename"} {
			series := "session.data.size: session.operation.name=" + op
			require.Equal(t, b.ops[op], all[series], op)
			delete(all, series)
		}
		require.Empty(t, all, "there is nothing else")
	}
}

// The memory store has no operations: only events.
func TestMemory(t *testing.T) {
	t.Parallel()
	s := newSight(t)
	visit(t, s.app(session.Options{}).visitor())
	all := s.metrics()
	require.Equal(t, visitedEvents, events(all))
	require.Empty(t, all)
	for _, span := range s.spans.Ended() {
		require.False(t, strings.HasPrefix(span.Name(), "session"), span.Name())
	}
}

// On Redis the proxy counts: as many round trips as operations, and one more for each retry.
func TestRetries(t *testing.T) {
	t.Parallel()
	p := tcpproxy.New(t, testserver.Redis(t), tcpproxy.Rules{
		Skip: func(question []byte) bool { return bytes.Contains(bytes.ToLower(question), []byte("auth")) },
	})
	s := newSight(t)
	app := s.app(session.Options{
		Initer: sessionredis.Initer(),
		Config: sessionredis.Config{
			Options:   &sessionredis.Options{Addr: p.Addr(), Password: testserver.RedisPassword()},
			KeyPrefix: fmt.Sprintf("otel:%d:", time.Now().UnixNano()),
		},
	})
	warm := app.visitor()
	visit(t, warm) // the server knows the scripts now
	before := s.metrics()
	trips := p.Trips()
	b := app.visitor()
	visit(t, b)
	all := s.metrics()
	require.Equal(t, times(2, visitedOps), durations(all))
	require.Equal(t, times(2, visitedEvents), events(all))
	require.Equal(t, durations(before), visitedOps)
	require.Equal(t, 9, p.Trips()-trips)

	require.Equal(t, http.StatusOK, b.Get("/add").Code)
	trips = p.Trips()
	const lost = 2
	p.LoseAfter(0, func() { p.Lose() })
	require.Equal(t, "<nil>", b.Get("/see").Body.String())
	require.Equal(t, 1+lost, p.Trips()-trips)
	all = s.metrics()
	require.Equal(t, lost, all["session.operation.retries: session.operation.name=load"])
	require.Equal(t, 2*visitedOps["load"]+1, all[lasted("load")], "it is one load all the same")
}

// The spans of operations are children of that of their request, and the backend works within them.
func TestSpans(t *testing.T) {
	t.Parallel()
	s, b := newSight(t), mapbackend.New()
	within := make(map[trace.SpanID]string)
	b.Before = func(ctx context.Context, method, _ string) error {
		within[trace.SpanContextFromContext(ctx).SpanID()] = "session " + strings.ToLower(method)
		return nil
	}
	visit(t, s.app(on(b)).visitor())
	requests := make(map[trace.SpanID]string)
	for _, span := range s.spans.Ended() {
		if strings.HasPrefix(span.Name(), "GET ") {
			requests[span.SpanContext().SpanID()] = span.Name()
		}
	}
	require.Len(t, requests, 5)
	var got []string
	for _, span := range s.spans.Ended() {
		if name := within[span.SpanContext().SpanID()]; name != "" {
			require.Equal(t, name, span.Name())
			got = append(got, requests[span.Parent().SpanID()]+": "+name)
			require.Equal(t, trace.SpanKindClient, span.SpanKind())
			require.Equal(t, sdktrace.Status{}, span.Status())
			op := attribute.String("session.operation.name", strings.TrimPrefix(name, "session "))
			require.Equal(t, []attribute.KeyValue{op}, span.Attributes())
			require.Equal(t, "github.com/flamego/session/otel", span.InstrumentationScope().Name)
		}
	}
	require.Equal(t, []string{
		"GET /add: session insert",
		"GET /login: session load", "GET /login: session rename", "GET /login: session insert",
		"GET /add: session load", "GET /add: session swap",
		"GET /see: session load",
		"GET /logout: session load", "GET /logout: session delete",
	}, got)
	require.Len(t, s.spans.Started(), len(requests)+len(got))
	require.Len(t, s.spans.Ended(), len(requests)+len(got))
}

// An operation that fails, and one that is refused, in spans and metrics.
func TestErrors(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"timeout": fmt.Errorf("the server: %w", context.DeadlineExceeded), "canceled": context.Canceled, "_OTHER": errors.New("down"),
	} {
		s, b := newSight(t), mapbackend.New()
		v := s.app(on(b)).visitor()
		require.Equal(t, http.StatusOK, v.Get("/add").Code)
		b.Before = func(ctx context.Context, _, _ string) error {
			attempts.Again(ctx)
			return err
		}
		require.Equal(t, http.StatusInternalServerError, v.Get("/see").Code)
		span := s.spans.Ended()[2]
		require.Equal(t, "session load", span.Name())
		require.Equal(t, sdktrace.Status{Code: codes.Error, Description: err.Error()}, span.Status())
		require.Contains(t, span.Attributes(), attribute.String("error.type", name))
		require.Empty(t, span.Events())
		all := s.metrics()
		require.Equal(t, 1, all["session.operation.duration: error.type="+name+",session.operation.name=load,session.operation.refused=false"])
		require.Equal(t, 1, all["session.operation.retries: session.operation.name=load"])
		require.Zero(t, all["session.data.size: session.operation.name=load"])
	}

	s, b := newSight(t), mapbackend.New()
	v := s.app(on(b)).visitor()
	v.Cookie = "flamego_session=0123456789abcdef"
	v.Get("/see")
	require.Equal(t, sdktrace.Status{}, s.spans.Ended()[0].Status())
	all := s.metrics()
	require.Equal(t, map[string]int{"unknown_id": 1}, events(all))
	require.Equal(t, map[string]int{"session.operation.duration: session.operation.name=load,session.operation.refused=true": 1}, all)
}

// What is written and refused does not count as written.
func TestRefusedSwap(t *testing.T) {
	t.Parallel()
	s, b := newSight(t), mapbackend.New()
	v := s.app(on(b)).visitor()
	v.Get("/add")
	again := true
	b.Before = func(_ context.Context, method, sid string) error {
		if method == "Swap" && again {
			again = false
			rec := b.Records[sid]
			rec.Data, _ = session.GobEncoder(session.Data{"other": 1})
			b.Records[sid] = rec
		}
		return nil
	}
	v.Get("/add")
	all := s.metrics()
	require.Equal(t, 1, all["session.operation.duration: session.operation.name=swap,session.operation.refused=true"])
	require.Equal(t, 1, all[lasted("swap")])
	require.Equal(t, 1, all["session.data.size: session.operation.name=swap"])
}

type key string

// The functions that an app has set are called, too, and their context is that of the span, and of
// the backend.
func TestBoth(t *testing.T) {
	t.Parallel()
	s, b := newSight(t), mapbackend.New()
	var told []string
	opts := on(b)
	opts.Observe = func(_ context.Context, e session.Event) { told = append(told, e.Op.String()) }
	opts.Trace = func(ctx context.Context, op session.Op) (context.Context, func(error)) {
		ctx, span := s.traces.Tracer("app").Start(ctx, "outer")
		told = append(told, "begin "+op.String())
		return context.WithValue(ctx, key("app"), op), func(err error) {
			told = append(told, fmt.Sprint("end ", op, " ", err))
			span.End()
		}
	}
	b.Before = func(ctx context.Context, method, _ string) error {
		require.Equal(t, "insert", fmt.Sprint(ctx.Value(key("app"))))
		told = append(told, method)
		return session.ErrNotApplied
	}
	s.app(opts).visitor().Get("/add")
	require.Equal(t, []string{"begin insert", "Insert", "end insert " + session.ErrNotApplied.Error(), "insert"}, told)
	spans := s.spans.Ended()
	require.Equal(t, "session insert", spans[0].Name())
	require.Equal(t, "outer", spans[1].Name())
	require.Equal(t, spans[1].SpanContext().SpanID(), spans[0].Parent().SpanID())
	require.Equal(t, codes.Error, spans[0].Status().Code)

	// A Trace that returns nothing.
	opts.Trace = func(context.Context, session.Op) (context.Context, func(error)) { return nil, nil }
	b.Before = nil
	s = newSight(t)
	a := s.app(opts)
	a.visitor().Get("/add")
	require.Empty(t, a.TakeErrors(), "nothing has panicked")
	spans = s.spans.Ended()
	require.Equal(t, []string{"session insert", "GET /add"}, []string{spans[0].Name(), spans[1].Name()})
	require.Equal(t, spans[1].SpanContext().SpanID(), spans[0].Parent().SpanID())
}

// No span and no metric has an ID, what is computed from it, an owner or data, also not in an error.
func TestHidesSecrets(t *testing.T) {
	t.Parallel()
	for _, mode := range []session.HashMode{session.HashNone, session.HashOnly} {
		s, b := newSight(t), mapbackend.New()
		opts := on(b)
		opts.OwnerKey, opts.HashIDs = "user", mode
		v := s.app(opts).visitor()
		secrets := []string{"qzkey", "qzvalue", "qzowner"}
		get := func(path string) {
			v.Get(path)
			if _, sid, ok := strings.Cut(v.Cookie, "="); ok {
				digest := sha256.Sum256([]byte(sid))
				handle := session.Handle(session.NewBaseSession(sid, nil, nil))
				secrets = append(secrets, sid, handle, hex.EncodeToString(digest[:])[:20])
			}
		}
		for _, path := range []string{"/add", "/login", "/add", "/owned"} {
			get(path)
		}
		b.Before = func(_ context.Context, method, key string) error { return fmt.Errorf("%s of '%s': down", method, key) }
		for _, path := range []string{"/add", "/login", "/owned", "/logout"} {
			get(path)
		}
		b.Before = nil
		get("/logout")
		v.Cookie = "flamego_session=0123456789abcdef"
		get("/see")
		require.Greater(t, len(secrets), 20)

		var data metricdata.ResourceMetrics
		require.NoError(t, s.reader.Collect(t.Context(), &data))
		seen := fmt.Sprintf("%+v", data)
		for _, stub := range tracetest.SpanStubsFromReadOnlySpans(s.spans.Ended()) {
			seen += fmt.Sprintf("%+v\n", stub)
		}
		require.Contains(t, seen, "session owned")
		require.Contains(t, seen, "down")
		require.Contains(t, seen, "unknown_id")
		for _, secret := range secrets {
			require.NotContains(t, seen, secret)
		}
	}
}

// Without providers it is the global ones that count.
func TestGlobal(t *testing.T) {
	s := newSight(t)
	api.SetMeterProvider(s.meters)
	api.SetTracerProvider(s.traces)
	opts := on(mapbackend.New())
	require.NoError(t, otel.Instrument(&opts, otel.WithMeterProvider(nil), otel.WithTracerProvider(nil)))
	a := webapp.New(t, opts)
	a.Get("/add", func(sess session.Session) { sess.Set("n", 1) })
	webapp.NewBrowser(t, a).Get("/add")
	all := s.metrics()
	require.Equal(t, map[string]int{"created": 1}, events(all))
	require.Equal(t, map[string]int{"insert": 1}, durations(all))
	require.Len(t, s.spans.Ended(), 1)
}

// strict is a meter that takes no counters.
type strict struct{ noop.MeterProvider }

func (strict) Meter(string, ...apimetric.MeterOption) apimetric.Meter { return strictMeter{} }

type strictMeter struct{ noop.Meter }

func (strictMeter) Int64Counter(name string, _ ...apimetric.Int64CounterOption) (apimetric.Int64Counter, error) {
	return nil, errors.New("no counter " + name)
}

// A meter that fails is an error at start, and the options are as they were.
func TestMeterFails(t *testing.T) {
	t.Parallel()
	var opts session.Options
	err := otel.Instrument(&opts, otel.WithMeterProvider(strict{}))
	require.EqualError(t, err, "session: otel: no counter session.operation.retries\nno counter session.events")
	require.Nil(t, opts.Observe)
	require.Nil(t, opts.Trace)
}
