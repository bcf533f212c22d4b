package faults

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/clock"
)

// withLifetime sets the Lifetime in the Config of a store.
func withLifetime(opts session.Options, d time.Duration) session.Options {
	config := reflect.New(reflect.TypeOf(opts.Config)).Elem()
	config.Set(reflect.ValueOf(opts.Config))
	config.FieldByName("Lifetime").SetInt(int64(d))
	opts.Config = config.Interface()
	return opts
}

// clockApp is newApp for an instance whose clock is ahead by so much, or behind.
func clockApp(t *testing.T, opts session.Options, ahead time.Duration) *app {
	t.Helper()
	clock.Local = func() time.Time { return time.Now().Add(ahead) }
	defer func() { clock.Local = time.Now }()
	return newApp(t, opts)
}

// TestWrongClock has two of three instances go by clocks that are a day off. Sessions live as
// long as they should all the same, whoever begins, reads, changes, renews or collects them, and
// the operators of the two are told.
func TestWrongClock(t *testing.T) {
	const day = 24 * time.Hour
	each(t, subject.remote, func(t *testing.T, s subject) {
		server, place := s.server(t), s.place(t)
		opts := s.at(place, server)
		opts.MaxLifetime, opts.OwnerKey = 6*time.Hour, "owner"
		right := clockApp(t, opts, 0)
		require.Empty(t, right.TakeErrors())
		apps := []*app{right, clockApp(t, opts, day), clockApp(t, opts, -day)}
		for i, a := range apps[1:] {
			errs := a.TakeErrors()
			require.Len(t, errs, 1)
			require.ErrorContains(t, errs[0], []string{"24h0m0s ahead of", "24h0m0s behind"}[i])
		}

		visits := 0
		var all []*visitor
		for _, first := range apps {
			v := first.visitor(t)
			v.ok("/set?owner=alice&a=1")
			for range 3 {
				for _, a := range apps {
					require.NoError(t, a.Store().GC(t.Context()))
					v = a.with(t, v.id)
					require.Equal(t, "1", v.see()["a"])
					v.ok("/set?b=2")
					sess, err := a.Store().Read(t.Context(), v.id)
					require.NoError(t, err)
					require.WithinDuration(t, time.Now(), session.IssuedAt(sess), time.Minute)
					visits++
				}
			}
			for _, a := range apps { // each gives it a new ID, and the others know of that
				old := v.id
				v = a.with(t, v.id)
				v.ok("/renew")
				require.NotEqual(t, old, v.id)
				for _, other := range apps {
					late := other.with(t, old)
					late.ok("/set?c=3")
					require.Equal(t, old, late.id, "a late request under a renewed ID is given a session of its own")
					require.NotContains(t, other.with(t, v.id).see(), "c")
				}
				visits++
			}
			all = append(all, v)
		}
		for _, a := range apps {
			infos, err := session.Owned(t.Context(), a.Store(), "alice")
			require.NoError(t, err)
			require.Len(t, infos, len(all))
			for _, info := range infos {
				require.WithinDuration(t, time.Now(), info.Seen, time.Minute)
			}
		}

		// With a short lifetime: nothing lives longer or shorter.
		const lifetime = 3 * time.Second
		short := withLifetime(s.at(s.place(t), server), lifetime)
		apps = []*app{clockApp(t, short, 0), clockApp(t, short, day), clockApp(t, short, -day)}
		all = nil
		for _, a := range apps {
			v := a.visitor(t)
			v.ok("/set?a=1")
			all = append(all, v)
		}
		for _, v := range all {
			for _, a := range apps {
				require.Equal(t, "1", a.with(t, v.id).see()["a"])
			}
		}
		for _, v := range all {
			for _, a := range apps {
				require.Eventually(t, func() bool { return !a.Store().Exist(t.Context(), v.id) }, lifetime+10*time.Second, 50*time.Millisecond)
			}
		}
		figure(t, "%d visits to three instances, two with clocks a day off: no session ended early or late", visits)
	})
}
