package session_test

import (
	"context"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
	"github.com/flamego/session/internal/testing/webapp"
)

// Where there are records of others, only IDs of IDLength are looked up, and what is no
// session is never touched.
func TestSharedKeys(t *testing.T) {
	ctx := context.Background()
	b := mapbackend.New()
	var asked []string
	b.Before = func(_ context.Context, method, sid string) error {
		if method == "Sweep" { // of the GC, at any time
			return nil
		}
		if method != "Load" {
			asked = append(asked, method+" "+sid)
		} else if len(sid) != 20 {
			asked = append(asked, sid)
		}
		return nil
	}
	initer := session.NewIniter(func(context.Context, bool) (session.Backend, session.StoreConfig, error) {
		return b, session.StoreConfig{SharedKeys: true}, nil
	})
	for name, read := range map[string]func(string) session.Options{
		"cookie": func(string) session.Options { return session.Options{} },
		"own": func(sid string) session.Options {
			return session.Options{ReadIDFunc: func(*http.Request) string { return sid }}
		},
	} {
		for _, sid := range []string{"abc", "abcdefghij012345", "abcdefghij0123456789a"} {
			opts := read(sid)
			opts.Initer, opts.Config, opts.IDLength = initer, true, 20
			app := webapp.New(t, opts)
			app.Get("/", func(s session.Session) string { return s.ID() })
			browser := webapp.NewBrowser(t, app)
			browser.Cookie = "flamego_session=" + sid
			require.Len(t, browser.Get("/").Body.String(), 20, name)
			for _, err := range []error{
				app.Store().Destroy(ctx, sid), app.Store().Touch(ctx, sid),
				app.Store().Save(ctx, session.NewBaseSessionWithData(sid, nil, nil, session.Data{"n": 1})),
			} {
				require.ErrorContains(t, err, "IDLength")
			}
			require.False(t, app.Store().Exist(ctx, sid))
			require.Empty(t, asked)
			require.Empty(t, app.TakeErrors())
		}
	}

	// Without a Manager the length is the default.
	store := session.NewStore(b, session.StoreConfig{SharedKeys: true})
	const sid = "abcdefghij012345"
	for _, data := range []string{"", "no gob"} {
		b.Records[sid] = mapbackend.Rec{Data: []byte(data), Expiry: time.Now().Add(time.Hour)}
		before := maps.Clone(b.Records)
		for what, change := range map[string]func(s session.Session){
			"swap":   func(s session.Session) { s.Set("n", 1) },
			"flush":  func(s session.Session) { s.Flush(); s.Set("n", 1) },
			"rename": func(s session.Session) { require.NoError(t, s.RegenerateID(nil, nil)) },
			"end":    func(s session.Session) { require.NoError(t, session.Destroy(nil, nil, s)) },
		} {
			s, err := store.Read(ctx, sid)
			require.Error(t, err)
			change(s)
			err = store.Save(ctx, s)
			require.ErrorContains(t, err, "is no session of this store", what)
			require.ErrorIs(t, err, session.ErrNotApplied)
		}
		require.Error(t, store.Destroy(ctx, sid))
		require.Error(t, store.Touch(ctx, sid))
		require.Equal(t, before, b.Records)
	}
	require.NoError(t, store.Destroy(ctx, "nobody0000000000"))
	require.NoError(t, store.Touch(ctx, "nobody0000000000"))
}

// TestSharedKeysUnderHashes: a key of the app that is the ID of a session under its hash stays, also when the
// session ends or is extended.
func TestSharedKeysUnderHashes(t *testing.T) {
	t.Parallel()
	const sid = "keyoftheapp00000"
	for _, mode := range []session.HashMode{session.HashRead, session.HashWrite} {
		b := mapbackend.New()
		open := func(mode session.HashMode) *app {
			return hashApp(t, b, mode, func(o *session.Options) {
				o.AdoptUnknownIDs = true
				o.Initer = func(context.Context, ...interface{}) (session.Store, error) {
					return session.NewStore(b, session.StoreConfig{SharedKeys: true}), nil
				}
			}).visitor("flamego_session=" + sid)
		}
		open(session.HashOnly).get("/add")
		b.Put(sid, session.Record{Data: []byte("the app's"), TTL: time.Minute})
		before := b.Records[sid]
		a := open(mode)
		require.Equal(t, "<nil> 2", a.get("/add").Body.String())
		require.NoError(t, a.Manager.Store().Touch(t.Context(), sid))
		require.Equal(t, before, b.Records[sid], "touched")
		a.get("/logout")
		require.Equal(t, before, b.Records[sid], "ended")
		require.NotContains(t, b.Records, hashed(sid))
	}
}
