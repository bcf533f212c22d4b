package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/attempts"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// witness keeps what Observe and Trace are told.
type witness struct {
	mu     sync.Mutex
	events []session.Event
	traced []string
}

func (w *witness) options(o *session.Options) {
	o.Observe = func(_ context.Context, e session.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, e)
	}
	o.Trace = func(ctx context.Context, op session.Op) (context.Context, func(error)) {
		return context.WithValue(ctx, spanKey{}, op), func(err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.traced = append(w.traced, fmt.Sprint(op, " ", err))
		}
	}
}

type spanKey struct{}

// ops are what the events are about. What a request begins with comes first.
func (w *witness) ops() (ops []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		ops = append(ops, e.Op.String())
	}
	w.events = nil
	return ops
}

func (w *witness) count(op session.Op) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, e := range w.events {
		if e.Op == op {
			n++
		}
	}
	return n
}

// TestObserve: a login and a logout, event by event, and the operations that the backend has seen.
func TestObserve(t *testing.T) {
	t.Parallel()
	for _, mode := range hashModes {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			t.Parallel()
			b, w := mapbackend.New(), new(witness)
			a := hashApp(t, b, mode, w.options, func(o *session.Options) { o.TouchInterval = time.Minute })
			var seen []string
			b.Before = func(ctx context.Context, method, _ string) error {
				seen = append(seen, strings.ToLower(method))
				require.Equal(t, strings.ToLower(method), fmt.Sprint(ctx.Value(spanKey{})), "the context of Trace")
				return nil
			}
			// check takes what became of sessions out of the events. The rest is what the backend has seen.
			check := func(path string, want ...string) {
				t.Helper()
				a.get(path)
				events := slices.Clone(w.events)
				ops := slices.DeleteFunc(w.ops(), func(op string) bool { return !slices.Contains(seen, op) })
				require.Equal(t, seen, ops, path)
				require.Len(t, w.traced, len(seen))
				seen, w.traced = nil, nil
				var became []string
				for _, e := range events {
					if !e.Op.IsOperation() {
						became = append(became, e.Op.String())
						require.Zero(t, e.Tries)
					} else {
						require.Equal(t, 1, e.Tries)
						require.Greater(t, e.Duration, time.Duration(0))
					}
					if sid := sidOf(a.cookie); sid != "" {
						require.Equal(t, session.Handle(session.NewBaseSession(sid, nil, nil)), e.Session, "%s: %v", path, e.Op)
					}
				}
				require.Equal(t, want, became, path)
			}
			check("/see")
			check("/add", "created")
			check("/add")
			before := a.cookie
			a.get("/renew")
			require.Equal(t, 1, w.count(session.OpRenewed))
			seen, w.events, w.traced = nil, nil, nil
			check("/add")
			check("/logout", "ended")
			a.cookie = "flamego_session=fedcba9876543210; " + before // its mark tells that it was given up
			a.get("/see")
			require.Zero(t, w.count(session.OpUnknownID))
			a.cookie = "flamego_session=0123456789abcdef"
			seen, w.events, w.traced = nil, nil, nil
			a.get("/see")
			require.Equal(t, "unknown ID", w.events[len(w.events)-1].Op.String())
			require.Equal(t, session.Handle(session.NewBaseSession("0123456789abcdef", nil, nil)), w.events[len(w.events)-1].Session)
			require.True(t, w.events[0].Refused)
			// Beside a session that the store knows, another ID is not worth a word.
			a.cookie = ""
			a.get("/add")
			w.ops()
			a.cookie = "flamego_session=0123456789abcdef; " + a.cookie
			require.Equal(t, "<nil> 1", a.get("/see").Body.String())
			require.Zero(t, w.count(session.OpUnknownID))
		})
	}
}

// TestObserveOutcomes: what becomes of sessions is told once, by the memory store as by others, however many
// requests there are at the same time.
func TestObserveOutcomes(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]*mapbackend.Backend{"memory": nil, "backend": mapbackend.New()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := new(witness)
			app := func(change ...func(*session.Options)) *app {
				return hashApp(t, b, session.HashNone, append(change, w.options, func(o *session.Options) {
					if b == nil {
						o.Initer = session.MemoryIniter()
					}
				})...)
			}
			a := app()
			a.get("/see") // the ID is given out
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() { a.visitor(a.cookie).get("/add") })
			}
			wg.Wait()
			require.Equal(t, 1, w.count(session.OpCreated))
			for range 8 {
				wg.Go(func() { a.visitor(a.cookie).get("/renew") })
			}
			wg.Wait()
			require.Equal(t, 1, w.count(session.OpRenewed))

			// The session ends under a request.
			a = app()
			a.get("/add")
			w.ops()
			a.Get("/slow", func(s session.Session, store session.Store) error {
				s.Set("k", "v")
				return a.Manager.Store().Destroy(t.Context(), s.ID())
			})
			a.get("/slow")
			require.Equal(t, 1, w.count(session.OpEnded))
			require.Equal(t, 1, w.count(session.OpVanished))

			// The oldest session has to go.
			a = app(func(o *session.Options) { o.MaxOwned = 1 })
			a.get("/login?alice")
			first := a.cookie
			a.cookie = ""
			time.Sleep(2 * time.Millisecond) // sessions keep their age in milliseconds
			w.ops()
			a.get("/login?alice")
			require.Equal(t, 1, w.count(session.OpEvicted))
			require.Zero(t, w.count(session.OpEnded))
			require.Equal(t, "<nil> <nil>", a.visitor(first).get("/see").Body.String())
			require.Equal(t, "alice <nil>", a.get("/see").Body.String())
		})
	}
}

// TestObserveEnds: the end of a session has the handle that the session was stored under, and a request that
// was only reading a session which others have ended has lost nothing.
func TestObserveEnds(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]*mapbackend.Backend{"memory": nil, "backend": mapbackend.New()} {
		w := new(witness)
		a := hashApp(t, b, session.HashNone, w.options, func(o *session.Options) {
			if b == nil {
				o.Initer = session.MemoryIniter()
			}
		})
		a.Get("/leave", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
			if err := s.RegenerateID(w, r); err != nil {
				return err
			}
			return session.Destroy(w, r, s)
		})
		a.Get("/beside", func(s session.Session) error { return a.Manager.Store().Destroy(t.Context(), s.ID()) })

		a.get("/login?alice")
		handle := session.Handle(session.NewBaseSession(sidOf(a.cookie), nil, nil))
		w.ops()
		a.get("/leave")
		require.Equal(t, 1, w.count(session.OpEnded), name)
		i := slices.IndexFunc(w.events, func(e session.Event) bool { return e.Op == session.OpEnded })
		require.Equal(t, handle, w.events[i].Session, name)

		a.get("/login?alice")
		w.ops()
		a.get("/beside")
		require.Equal(t, 1, w.count(session.OpEnded), name)
		require.Zero(t, w.count(session.OpVanished), name)
	}
}

// TestObserveEachLoss: each of several requests whose changes are dropped is told of, also where the store takes
// changes of one session together.
func TestObserveEachLoss(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]*mapbackend.Backend{"memory": nil, "backend": mapbackend.New()} {
		const requests = 8
		w := new(witness)
		a := hashApp(t, b, session.HashNone, w.options, func(o *session.Options) {
			if b == nil {
				o.Initer = session.MemoryIniter()
			}
		})
		var loaded, ended sync.WaitGroup
		loaded.Add(requests)
		ended.Add(1)
		a.Get("/wait", func(r *http.Request, s session.Session) {
			s.Set(r.URL.RawQuery, 1)
			loaded.Done()
			ended.Wait()
		})
		a.get("/login?alice")
		if b != nil {
			b.Before = func(context.Context, string, string) error {
				time.Sleep(time.Millisecond) // so that changes wait for one another
				return nil
			}
		}
		var all sync.WaitGroup
		for i := range requests {
			all.Go(func() { a.visitor(a.cookie).get(fmt.Sprint("/wait?", i)) })
		}
		loaded.Wait()
		require.NoError(t, a.Manager.Store().Destroy(t.Context(), sidOf(a.cookie)))
		ended.Done()
		all.Wait()
		require.Equal(t, requests, w.count(session.OpVanished), name)
		require.Equal(t, 1, w.count(session.OpEnded), name)
	}
}

// TestObserveLostAnswers: a write whose answer was lost is told once.
func TestObserveLostAnswers(t *testing.T) {
	t.Parallel()
	w := new(witness)
	lost := false
	b := &lossyInserts{mapbackend.New(), func() bool {
		first := !lost
		lost = true
		return first
	}}
	a := hashApp(t, b, session.HashNone, w.options)
	a.get("/add")
	require.Equal(t, 1, w.count(session.OpCreated))
	require.Equal(t, "<nil> 2", a.get("/add").Body.String())
}

// TestObserveUnreadable: what cannot be decoded is an event with a reason.
func TestObserveUnreadable(t *testing.T) {
	t.Parallel()
	b, w := mapbackend.New(), new(witness)
	a := hashApp(t, b, session.HashNone, w.options, func(o *session.Options) { o.ErrorFunc = func(error) {} })
	a.get("/login?alice")
	rec := b.Records[sidOf(a.cookie)]
	rec.Data = []byte("rubbish")
	b.Records[sidOf(a.cookie)] = rec
	w.ops()
	a.get("/see")
	require.Equal(t, 1, w.count(session.OpUnreadable))
	require.Error(t, w.events[1].Err, "it comes after the load")
}

// TestHooksPanic: a hook that panics breaks no request, and ErrorFunc is told.
func TestHooksPanic(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(o *session.Options){
		"Observe": func(o *session.Options) { o.Observe = func(context.Context, session.Event) { panic("hook") } },
		"Trace": func(o *session.Options) {
			o.Trace = func(context.Context, session.Op) (context.Context, func(error)) { panic("hook") }
		},
		"the function that Trace returned": func(o *session.Options) {
			o.Trace = func(context.Context, session.Op) (context.Context, func(error)) {
				return nil, func(error) { panic("hook") }
			}
		},
	} {
		var errs []string
		a := hashApp(t, mapbackend.New(), session.HashNone, change, func(o *session.Options) {
			o.ErrorFunc = func(err error) { errs = append(errs, err.Error()) }
		})
		a.get("/login?alice")
		require.Equal(t, "alice 1", a.get("/add").Body.String())
		require.NoError(t, a.Manager.Store().GC(t.Context()))
		require.Contains(t, errs, "session: "+name+" panicked: hook")
	}
}

// TestTraceNothing: Trace may return nothing.
func TestTraceNothing(t *testing.T) {
	t.Parallel()
	a := hashApp(t, mapbackend.New(), session.HashNone, func(o *session.Options) {
		o.Trace = func(context.Context, session.Op) (context.Context, func(error)) { return nil, nil }
	})
	a.get("/login?alice")
	require.Equal(t, "alice 1", a.get("/add").Body.String())
}

// TestObserveTries: what a backend notes of its attempts is in the event, also if it panics in the end.
func TestObserveTries(t *testing.T) {
	t.Parallel()
	b, w := mapbackend.New(), new(witness)
	a := hashApp(t, b, session.HashNone, w.options, func(o *session.Options) { o.ErrorFunc = func(error) {} })
	a.get("/login?alice")
	panics := false
	b.Before = func(ctx context.Context, method, _ string) error {
		attempts.Again(ctx)
		if panics {
			panic("the backend")
		}
		return errors.New("down")
	}
	w.ops()
	a.get("/see")
	require.Len(t, w.events, 1)
	require.Equal(t, 2, w.events[0].Tries)
	require.EqualError(t, w.events[0].Err, "down")
	require.False(t, w.events[0].Refused)
	panics = true
	w.traced = nil
	require.Panics(t, func() { _, _ = a.Manager.Store().Read(t.Context(), sidOf(a.cookie)) })
	require.Equal(t, []string{"load the backend panicked"}, w.traced)
}

// TestObserveHidesSecrets: no event, and no log of it, has an ID, the key of a record, an owner or data.
func TestObserveHidesSecrets(t *testing.T) {
	t.Parallel()
	for _, mode := range hashModes {
		b, w := mapbackend.New(), new(witness)
		var text bytes.Buffer
		log := session.LogEvents(slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug})))
		a := hashApp(t, b, mode, w.options, func(o *session.Options) {
			keep := o.Observe
			o.Observe = func(ctx context.Context, e session.Event) { keep(ctx, e); log(ctx, e) }
			o.ErrorFunc = func(error) {}
		})
		secrets := []string{"qzowner", "qzvalue"}
		note := func() {
			if sid := sidOf(a.cookie); sid != "" {
				secrets = append(secrets, sid, hashed(sid))
			}
		}
		for _, path := range []string{"/login?qzowner", "/add", "/renew", "/owned?qzowner", "/others?qzowner"} {
			a.get(path)
			note()
		}
		b.Before = func(_ context.Context, method, key string) error {
			return fmt.Errorf("%s of %s: qzvalue in '%s'", method, key, key)
		}
		for _, path := range []string{"/see", "/renew", "/owned?qzowner", "/logout"} {
			require.Equal(t, http.StatusInternalServerError, a.get(path).Code)
		}
		text.WriteString(fmt.Sprint(w.events, w.traced))
		for _, secret := range secrets {
			if secret == "qzvalue" {
				continue // it is not in quotes, and what else the backend says is shown
			}
			require.NotContains(t, text.String(), secret, "mode %d", mode)
		}
	}
}

func TestLogEvents(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		e    session.Event
		want string
	}{
		{session.Event{Op: session.OpLoad, Session: "abc", Duration: time.Millisecond, Tries: 1, Bytes: 7},
			`{"level":"DEBUG","msg":"session","op":"load","session":"abc","duration":1000000,"tries":1,"bytes":7}`},
		{session.Event{Op: session.OpSwap, Session: "abc", Duration: time.Second, Tries: 3, Refused: true},
			`{"level":"DEBUG","msg":"session","op":"swap","session":"abc","duration":1000000000,"tries":3,"refused":true}`},
		{session.Event{Op: session.OpSweep, Tries: 1, Err: errors.New("down")},
			`{"level":"ERROR","msg":"session","op":"sweep","duration":0,"tries":1,"err":"down"}`},
		{session.Event{Op: session.OpCreated, Session: "abc"}, `{"level":"INFO","msg":"session","op":"created","session":"abc"}`},
		{session.Event{Op: session.OpVanished, Session: "abc"}, `{"level":"WARN","msg":"session","op":"vanished","session":"abc"}`},
		{session.Event{Op: session.OpUnreadable, Session: "abc", Err: errors.New("why")},
			`{"level":"WARN","msg":"session","op":"unreadable","session":"abc","err":"why"}`},
	} {
		var text bytes.Buffer
		session.LogEvents(slog.New(slog.NewJSONHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug})))(t.Context(), tt.e)
		var got map[string]interface{}
		require.NoError(t, json.Unmarshal(text.Bytes(), &got))
		delete(got, "time")
		raw, err := json.Marshal(got)
		require.NoError(t, err)
		require.JSONEq(t, tt.want, string(raw))
	}
	var text bytes.Buffer
	session.LogEvents(slog.New(slog.NewTextHandler(&text, nil)))(t.Context(), session.Event{Op: session.OpLoad})
	require.Empty(t, text.String(), "the level is not on")
	require.Equal(t, "Op(99)", session.Op(99).String())
}
