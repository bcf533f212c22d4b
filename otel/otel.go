// Package otel shows the sessions of an app to OpenTelemetry: a span for each operation on the database,
// and metrics of these operations and of what becomes of sessions. [Instrument] sets it up.
//
// Nothing of it has a session ID, a handle, an owner or data of a session. So there are few series,
// however many visitors there are.
//
// # Spans
//
// The span of an operation is a child of the span of its request, if there is one. Its name is
// "session" and the word of the operation, such as "session load". Its kind is client. It has the
// attribute session.operation.name. If the operation fails, the status is Error, with the text of
// the error, and there is the attribute error.type. An operation that is refused is no error.
//
// # Metrics
//
//	session.operation.duration  histogram, s        how long operations take, with all their tries
//	session.operation.retries   counter, {retry}    how often the store has repeated an operation
//	session.data.size           histogram, By       the data of a session that was read or written
//	session.events              counter, {event}    what becomes of sessions
//
// The first three have the attribute session.operation.name: load, insert, swap, rename, extend,
// delete, sweep or owned. The first has session.operation.refused, too, which is true or false,
// and error.type if the operation has failed: timeout, canceled or _OTHER. The last has
// session.event.name: created, renewed, ended, vanished, unknown_id, unreadable or evicted. What
// the words mean is said at [session.Op].
package otel

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/flamego/session"
)

const scope = "github.com/flamego/session/otel"

// The names of attributes.
const (
	operationName    = attribute.Key("session.operation.name")
	operationRefused = attribute.Key("session.operation.refused")
	eventName        = attribute.Key("session.event.name")
	errorType        = attribute.Key("error.type")
)

// Option changes what [Instrument] does.
type Option func(*providers)

type providers struct {
	tracers trace.TracerProvider
	meters  metric.MeterProvider
}

// WithTracerProvider has the spans go to a provider. Default, and what nil stands for, is the
// global one.
func WithTracerProvider(p trace.TracerProvider) Option {
	return func(to *providers) { to.tracers = p }
}

// WithMeterProvider has the metrics go to a provider. Default, and what nil stands for, is the
// global one.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(to *providers) { to.meters = p }
}

// Instrument sets the options Observe and Trace. Functions that are set there already are called
// as well: the span of an operation is a child of what the former Trace begins. Call Instrument
// before session.New or session.Sessioner, once. The error is that of a meter that refuses the
// name of a metric.
//
// The memory store has no operations: there are no spans, and session.events is the only metric. A
// store of another make, which is neither of the library nor made by NewStore, cannot be observed:
// session.New returns an error then.
func Instrument(o *session.Options, opts ...Option) error {
	var p providers
	for _, opt := range opts {
		opt(&p)
	}
	if p.tracers == nil {
		p.tracers = otel.GetTracerProvider()
	}
	if p.meters == nil {
		p.meters = otel.GetMeterProvider()
	}
	m, err := newMetrics(p.meters.Meter(scope))
	if err != nil {
		return fmt.Errorf("session: otel: %w", err)
	}
	o.Observe = both(m.observe, o.Observe)
	o.Trace = inside(o.Trace, spans(p.tracers.Tracer(scope)))
	return nil
}

// both calls first the one, then the other if there is one.
func both(one, other func(context.Context, session.Event)) func(context.Context, session.Event) {
	if other == nil {
		return one
	}
	return func(ctx context.Context, e session.Event) {
		one(ctx, e)
		other(ctx, e)
	}
}

type traceFunc = func(context.Context, session.Op) (context.Context, func(error))

// inside has the inner one begin after the outer one, if there is one, and end before it.
func inside(outer, inner traceFunc) traceFunc {
	if outer == nil {
		return inner
	}
	return func(ctx context.Context, op session.Op) (context.Context, func(error)) {
		between, outerEnd := outer(ctx, op)
		if between == nil {
			between = ctx
		}
		within, innerEnd := inner(between, op)
		if outerEnd == nil {
			return within, innerEnd
		}
		return within, func(err error) {
			innerEnd(err)
			outerEnd(err)
		}
	}
}

// spans begins a span for each operation.
func spans(tracer trace.Tracer) traceFunc {
	return func(ctx context.Context, op session.Op) (context.Context, func(error)) {
		ctx, span := tracer.Start(ctx, "session "+op.String(),
			trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(operationName.String(op.String())))
		return ctx, func(err error) {
			if err != nil {
				span.SetStatus(codes.Error, err.Error())
				span.SetAttributes(typeOf(err))
			}
			span.End()
		}
	}
}

// typeOf is the attribute that says what kind of error there was.
func typeOf(err error) attribute.KeyValue {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errorType.String("timeout")
	case errors.Is(err, context.Canceled):
		return errorType.String("canceled")
	}
	return errorType.String("_OTHER")
}

// metrics are the instruments.
type metrics struct {
	duration metric.Float64Histogram
	retries  metric.Int64Counter
	size     metric.Int64Histogram
	events   metric.Int64Counter
}

func newMetrics(meter metric.Meter) (m metrics, err error) {
	var errs [4]error
	m.duration, errs[0] = meter.Float64Histogram("session.operation.duration",
		metric.WithDescription("How long operations of the session store take, with all their tries."), metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5, 10))
	m.retries, errs[1] = meter.Int64Counter("session.operation.retries",
		metric.WithDescription("How often the session store has repeated an operation."), metric.WithUnit("{retry}"))
	m.size, errs[2] = meter.Int64Histogram("session.data.size",
		metric.WithDescription("The data of a session that was read or written."), metric.WithUnit("By"),
		metric.WithExplicitBucketBoundaries(64, 256, 1<<10, 4<<10, 16<<10, 64<<10, 256<<10, 1<<20))
	m.events, errs[3] = meter.Int64Counter("session.events",
		metric.WithDescription("What became of sessions."), metric.WithUnit("{event}"))
	return m, errors.Join(errs[:]...)
}

func (m metrics) observe(ctx context.Context, e session.Event) {
	if !e.Op.IsOperation() {
		name := strings.ReplaceAll(strings.ToLower(e.Op.String()), " ", "_")
		m.events.Add(ctx, 1, metric.WithAttributes(eventName.String(name)))
		return
	}
	op := operationName.String(e.Op.String())
	attrs := []attribute.KeyValue{op, operationRefused.Bool(e.Refused)}
	if e.Err != nil {
		attrs = append(attrs, typeOf(e.Err))
	}
	m.duration.Record(ctx, e.Duration.Seconds(), metric.WithAttributes(attrs...))
	if e.Tries > 1 {
		m.retries.Add(ctx, int64(e.Tries-1), metric.WithAttributes(op))
	}
	if e.Bytes > 0 && !e.Refused && e.Err == nil {
		m.size.Record(ctx, int64(e.Bytes), metric.WithAttributes(op))
	}
}
