package session_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// bothInstances runs a test with two instances: of the memory store one and the same, of a
// backend and of its storage two.
func bothInstances(t *testing.T, opts session.Options, f func(t *testing.T, here, there *app)) {
	onBoth(t, func(t *testing.T, store session.Options) {
		opts := opts
		opts.Initer = store.Initer
		here := newApp(t, opts)
		there := here
		if store.Initer != nil {
			there = newApp(t, opts)
		}
		f(t, here, there)
		require.Empty(t, here.TakeErrors())
		require.Empty(t, there.TakeErrors())
	})
}

func renewing(t *testing.T) flamego.Handler {
	return func(s session.Session, w http.ResponseWriter, r *http.Request) string {
		require.NoError(t, s.RegenerateID(w, r))
		return s.ID()
	}
}

// Of two requests that renew one session at the same time, whichever answer the browser
// keeps, its owner stays logged in.
func TestOverlappingRenewals(t *testing.T) {
	for _, sets := range []bool{false, true} {
		t.Run(fmt.Sprint("sets ", sets), func(t *testing.T) {
			bothInstances(t, session.Options{}, func(t *testing.T, here, there *app) {
				cookie := here.visit(func(s session.Session) { s.Set("user", 1) })
				var winner []string
				loser := here.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
					winner = ours(there.once(cookie, renewing(t)).Header())
					if sets {
						s.Set("user", 1)
					}
					require.NoError(t, s.RegenerateID(w, r))
					return s.ID()
				})
				require.Equal(t, http.StatusOK, loser.Code)
				require.Len(t, winner, 1)
				answers := [][]string{winner}
				if sets {
					answers = append(answers, ours(loser.Header()))
				} else {
					require.Empty(t, ours(loser.Header()))
					require.False(t, here.Store().Exist(t.Context(), loser.Body.String()))
				}
				for _, lines := range answers {
					sid := sidOf(strings.Split(lines[0], ";")[0])
					require.Equal(t, 1, get(t, here.Store(), sid, "user"))
				}
				require.False(t, here.Store().Exist(t.Context(), sidOf(cookie)))
			})
		})
	}
}

// The same in parallel, many times: in the end the browser has a session with its data.
// This process knows of a renewal even before the mark is in the store.
func TestOverlappingRenewalsInParallel(t *testing.T) {
	bothInstances(t, session.Options{}, func(t *testing.T, here, _ *app) {
		for range 300 {
			cookie := here.visit(func(s session.Session) { s.Set("user", 1) })
			var wg sync.WaitGroup
			answers := make([][]string, 4)
			for i := range answers {
				wg.Go(func() { answers[i] = ours(here.once(cookie, renewing(t)).Header()) })
			}
			wg.Wait()
			sent := 0
			for _, lines := range answers {
				if len(lines) > 0 {
					sent++
					require.Equal(t, 1, get(t, here.Store(), sidOf(strings.Split(lines[0], ";")[0]), "user"))
				}
			}
			require.Equal(t, 1, sent)
		}
	})
}

// A request that arrives under an ID that was given up changes nothing for ten seconds, and
// sends no cookie. After that the ID is as good as none. Here with a visitor for whom
// nothing was stored before the login, and with MaxAge, too.
func TestLateRequestUnderARenewedID(t *testing.T) {
	for _, stored := range []bool{true, false} {
		for _, maxAge := range []int{0, 60} {
			t.Run(fmt.Sprintf("stored %v, MaxAge %d", stored, maxAge), func(t *testing.T) {
				test := func(t *testing.T, opts session.Options) {
					synctest.Test(t, func(t *testing.T) {
						opts.Cookie.MaxAge, opts.TouchInterval = maxAge, -1
						a := newApp(t, opts)
						cookie := a.visit(func(s session.Session) {
							if stored {
								s.Set("user", 1)
							}
						})
						w := a.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
							require.NoError(t, s.RegenerateID(w, r))
							s.Set("user", 2)
							return s.ID()
						})
						renewed := w.Body.String()
						for range 3 {
							w = a.once(cookie, func(s session.Session, flash session.Flash) string {
								require.Nil(t, s.Get("user"))
								s.Set("user", 3)
								s.SetFlash("late")
								return "ok"
							})
							require.Equal(t, http.StatusOK, w.Code)
							require.Empty(t, ours(w.Header()))
							require.False(t, a.Store().Exist(t.Context(), sidOf(cookie)))
							require.Equal(t, 2, get(t, a.Store(), renewed, "user"))
							require.NoError(t, a.Store().Touch(t.Context(), sidOf(cookie)))
							time.Sleep(3 * time.Second)
						}
						time.Sleep(2 * time.Second)
						w = a.once(cookie, func(s session.Session) string {
							require.NotEqual(t, sidOf(cookie), s.ID())
							s.Set("user", 3)
							return s.ID()
						})
						require.Len(t, ours(w.Header()), 1)
						require.Equal(t, 3, get(t, a.Store(), w.Body.String(), "user"))
						require.Empty(t, a.TakeErrors())
					})
				}
				onEach(t, test)
			})
		}
	}
}

// A login that was sent twice works, whichever of the two answers the browser keeps.
func TestDoubleClickOnLogin(t *testing.T) {
	login := func(s session.Session, w http.ResponseWriter, r *http.Request) string {
		if err := s.RegenerateID(w, r); err != nil {
			panic(err)
		}
		s.Set("user", 7)
		return s.ID()
	}
	for _, stored := range []bool{true, false} {
		bothInstances(t, session.Options{}, func(t *testing.T, here, there *app) {
			cookie := here.visit(func(s session.Session) {
				if stored {
					s.Set("form", 1)
				}
			})
			if !stored {
				there = here // another instance does not know the ID of a session that is not stored
			}
			for _, a := range []*app{here, there} {
				w := a.once(cookie, login)
				require.Equal(t, http.StatusOK, w.Code)
				require.Equal(t, []string{"flamego_session=" + w.Body.String() + "; Path=/; HttpOnly; SameSite=Lax"}, ours(w.Header()))
				require.Equal(t, 7, get(t, here.Store(), w.Body.String(), "user"))
			}
		})
	}
}

// A process of an older version takes the mark of a renewal for a session with one odd key.
func TestMarkInOlderProcesses(t *testing.T) {
	b := mapbackend.New()
	a := newApp(t, backendOptions(b))
	cookie := a.visit(func(s session.Session) { s.Set("user", 1) })
	a.once(cookie, renewing(t))
	raw := b.Records[sidOf(cookie)]
	require.LessOrEqual(t, time.Until(raw.Expiry), 10*time.Second)
	data, err := session.GobDecoder(raw.Data)
	require.NoError(t, err)
	require.Len(t, data, 1)
	require.Contains(t, data, "flamego::session::renewed")

	// Such a process may set something there, and extend it. The ID stays dead.
	data["user"] = 2
	raw.Data, err = session.GobEncoder(data)
	require.NoError(t, err)
	b.Put(sidOf(cookie), session.Record{Data: raw.Data, TTL: time.Hour})
	require.False(t, a.Store().Exist(t.Context(), sidOf(cookie)))
	require.Nil(t, get(t, a.Store(), sidOf(cookie), "user"))
}

// A session that an administrator ends does not come back by a login that was under way,
// and its cookie is left alone.
func TestDestroyBesideALogin(t *testing.T) {
	bothInstances(t, session.Options{}, func(t *testing.T, here, there *app) {
		cookie := here.visit(func(s session.Session) { s.Set("user", 1) })
		w := here.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
			user := s.Get("user")
			require.NoError(t, there.Store().Destroy(r.Context(), s.ID()))
			require.NoError(t, s.RegenerateID(w, r))
			s.Set("user", user)
			return s.ID()
		})
		require.Equal(t, http.StatusOK, w.Code)
		require.Empty(t, ours(w.Header()))
		require.False(t, here.Store().Exist(t.Context(), w.Body.String()))
		require.False(t, here.Store().Exist(t.Context(), sidOf(cookie)))
	})
}

// With MaxAge, a slow request that only reads sends no cookie for a session that was
// ended or renewed meanwhile, here or by another instance, also if it took a flash.
func TestSlowReadSendsNoDeadID(t *testing.T) {
	ends := map[string]flamego.Handler{
		"login":  renewing(t),
		"logout": func(s session.Session, w http.ResponseWriter, r *http.Request) error { return session.Destroy(w, r, s) },
	}
	for name, end := range ends {
		for _, flash := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, flash %v", name, flash), func(t *testing.T) {
				opts := session.Options{Cookie: session.CookieOptions{MaxAge: 60}, TouchInterval: -1}
				synctest.Test(t, func(t *testing.T) {
					for _, store := range []session.Options{{}, backendOptions(mapbackend.New()), {Initer: newBlindStore}} {
						opts.Initer = store.Initer
						here := newApp(t, opts)
						there := here
						if opts.Initer != nil && !isBlind(here) {
							there = newApp(t, opts)
						}
						cookie := here.visit(func(s session.Session) {
							if s.Set("user", 1); flash {
								s.SetFlash("hello")
							}
						})
						time.Sleep(time.Minute) // the cookie is due
						w := here.once(cookie, func(s session.Session) string {
							_ = s.Get("user")
							there.with("GET", []string{"Cookie: " + cookie}, end)
							return "ok"
						})
						require.Empty(t, ours(w.Header()), "%T", here.Store())
					}
				})
			})
		}
	}
}

func isBlind(a *app) bool { _, ok := a.Store().(*blindStore); return ok }

// The store is asked for that only where a cookie would be sent.
func TestCookieCostsOneLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls []string
		opts := backendOptions(before(func(_ context.Context, method, _ string) error {
			if method != "Sweep" {
				calls = append(calls, method)
			}
			return nil
		}))
		opts.Cookie.MaxAge, opts.TouchInterval, opts.GCInterval = 3600, -1, 24*time.Hour
		a := newApp(t, opts)
		cookie := a.visit(func(s session.Session) { s.Set("user", 1) })
		for range 5 {
			time.Sleep(time.Minute)
			calls = nil
			a.once(cookie, func() string { return "ok" })
			require.Equal(t, []string{"Load", "Extend", "Load"}, calls)
			a.once(cookie, func() string { return "ok" })
			require.Equal(t, []string{"Load", "Extend", "Load", "Load", "Extend"}, calls)
		}
	})
}

// A mark that somebody has extended is no obstacle when its time is over.
func TestExtendedMark(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		synctest.Test(t, func(t *testing.T) {
			a := newApp(t, opts)
			cookie := a.visit(func(s session.Session) { s.Set("user", 1) })
			a.once(cookie, renewing(t))
			require.NoError(t, a.Store().Touch(t.Context(), sidOf(cookie)))
			for _, after := range []time.Duration{11 * time.Second, time.Hour - 12*time.Second} { // in the end it has 1 s left
				time.Sleep(after)
				w := a.once(cookie, func(s session.Session) string {
					require.NotEqual(t, sidOf(cookie), s.ID())
					s.Set("user", 2)
					return s.ID()
				})
				require.Len(t, ours(w.Header()), 1)
				require.Equal(t, 2, get(t, a.Store(), w.Body.String(), "user"))
				require.False(t, a.Store().Exist(t.Context(), sidOf(cookie)))
			}

			// An app may use the ID again, by hand, even for a session with nothing in it.
			require.NoError(t, a.Store().Touch(t.Context(), sidOf(cookie)))
			save(t, a.Store(), sidOf(cookie))
			require.True(t, a.Store().Exist(t.Context(), sidOf(cookie)))
			save(t, a.Store(), sidOf(cookie), "user", 3)
			require.Equal(t, 3, get(t, a.Store(), sidOf(cookie), "user"))
		})
	})
}

// The cookie tells the ID under which the session is, also if the store knows of no
// IDWriter.
func TestCookieWithoutIDWriter(t *testing.T) {
	a := newApp(t, session.Options{Initer: func(context.Context, ...interface{}) (session.Store, error) {
		return session.NewStore(mapbackend.New(), session.StoreConfig{}), nil
	}})
	for _, cookie := range []string{"", a.visit(func(s session.Session) { s.Set("key", 1) })} {
		w := a.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
			s.Set("key", 2)
			require.NoError(t, s.RegenerateID(w, r))
			return s.ID()
		})
		require.Equal(t, []string{"flamego_session=" + w.Body.String() + "; Path=/; HttpOnly; SameSite=Lax"}, ours(w.Header()))
	}
}

// A session that was renewed on top of what others have saved shows what is stored.
func TestRenewalShowsWhatOthersSaved(t *testing.T) {
	b := mapbackend.New()
	here, there := session.NewStore(b, session.StoreConfig{}), session.NewStore(b, session.StoreConfig{})
	save(t, here, "abcdef", "a", 1)
	s, err := here.Read(t.Context(), "abcdef")
	require.NoError(t, err)
	save(t, there, "abcdef", "b", 2)
	require.NoError(t, s.RegenerateID(httptest.NewRecorder(), nil))
	require.NoError(t, here.Save(t.Context(), s))
	require.Equal(t, 2, s.Get("b"))
	require.Equal(t, 2, get(t, there, s.ID(), "b"))
}

// A second renewal of an ID that was given up, as by a double click on a login, leaves the mark of
// the first one as it is: ten seconds after the first renewal the old ID is unknown.
func TestSecondRenewalLeavesTheMark(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) session.Store{
		"memory":  func(t *testing.T) session.Store { return newMemoryStore(t, time.Hour) },
		"backend": func(*testing.T) session.Store { return session.NewStore(mapbackend.New(), session.StoreConfig{}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, store := t.Context(), open(t)
				read := func() session.Session {
					s, err := store.Read(ctx, "old")
					require.NoError(t, err)
					return s
				}
				save := func(s session.Session, renew bool) {
					s.Set("key", "val")
					if renew {
						require.NoError(t, s.RegenerateID(httptest.NewRecorder(), nil))
					}
					require.NoError(t, store.Save(ctx, s))
				}
				save(read(), false)
				first, second := read(), read()
				save(first, true)
				time.Sleep(6 * time.Second)
				save(second, true)
				require.True(t, store.Exist(ctx, first.ID()))
				require.True(t, store.Exist(ctx, second.ID()))
				save(read(), false)
				require.False(t, store.Exist(ctx, "old"), "it is marked")
				time.Sleep(6 * time.Second)
				save(read(), false)
				require.True(t, store.Exist(ctx, "old"), "it is unknown")
			})
		})
	}
}
