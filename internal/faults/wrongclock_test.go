package faults

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/clock"
)

// clockApp is newApp for an instance whose clock is ahead by so much, or behind.
func clockApp(t *testing.T, opts session.Options, ahead time.Duration) *app {
	t.Helper()
	clock.Local = func() time.Time { return time.Now().Add(ahead) }
	defer func() { clock.Local = time.Now }()
	return newApp(t, opts)
}

// day is how far the clocks of two of three instances are off.
const day = 24 * time.Hour

// TestWrongClock has two of three instances go by clocks that are a day off. No session ends for
// that, whoever begins, reads, changes, renews or collects it, and the operators of the two are
// told. Sessions with a Lifetime of four seconds end when they should: see exactLives.
// It rests on session.ServerClock, by which a process corrects its own clock.
func TestWrongClock(t *testing.T) {
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

		early, late := exactLives(t, s, server)
		figure(t, "%d visits to three instances, two with clocks a day off: every session was there; of sessions with a Lifetime of %v each instance sees each alive %d ms before its end, none %d ms after it",
			visits, shortLifetime, early.Milliseconds(), late.Milliseconds())
	})
}

const shortLifetime = 4 * time.Second

// exactLives has each of three instances begin a session, and each of them look at all sessions all
// the time. No session is gone before its Lifetime is over, none is alive two seconds after it, and
// each was seen alive in the last second (in the short form, in the last three). It returns how
// long before its end the first session was last seen alive, and how long after its end the last
// one was first found dead.
//
// Of what is seen, only what is certain counts, however slow the machine is: an end may be as early
// as the Lifetime after the request began, and as late as the Lifetime after it was answered, which
// some servers round up to a second. A session was alive when the look at it began, and dead when
// that was over.
func exactLives(t *testing.T, s subject, server string) (early, late time.Duration) {
	t.Helper()
	const grace = 2 * time.Second
	within := time.Second
	if !full() {
		within = 3 * time.Second // the machine may be busy
	}
	opts := s.options(s.place(t), server, shortLifetime)
	apps := []*app{clockApp(t, opts, 0), clockApp(t, opts, day), clockApp(t, opts, -day)}
	type look struct {
		app            *app
		id             string
		earliest, last time.Time // of its end; and when it was last seen alive
		latest         time.Time // of its end
	}
	var looks []*look
	for _, begins := range apps {
		v, asked := begins.visitor(t), time.Now()
		v.ok("/set?a=1")
		answered := time.Now()
		for _, a := range apps {
			require.NoError(t, a.Store().GC(t.Context()))
			looks = append(looks, &look{
				app: a, id: v.id, earliest: asked.Add(shortLifetime), latest: answered.Add(shortLifetime), last: asked,
			})
		}
	}
	for len(looks) > 0 {
		var alive []*look
		for _, l := range looks {
			begun := time.Now()
			if l.app.Store().Exist(t.Context(), l.id) {
				require.LessOrEqual(t, begun.Sub(l.latest), grace, "a session lives too long")
				l.last = begun
				alive = append(alive, l)
				continue
			}
			over := time.Now()
			require.False(t, over.Before(l.earliest), "a session ends %v early", l.earliest.Sub(over))
			rest := l.earliest.Sub(l.last)
			require.LessOrEqual(t, rest, within, "nobody has looked for a session near its end")
			early, late = max(early, rest), max(late, over.Sub(l.latest))
		}
		looks = alive
		time.Sleep(20 * time.Millisecond)
	}
	return early, late
}
