package session_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

func TestGCRunsUntilClose(t *testing.T) { synctest.Test(t, gcRunsUntilClose) }

func gcRunsUntilClose(t *testing.T) {
	calls := make(chan struct{}, 10)
	store := gcStore{calls: calls, err: errors.New("gc failed")}
	errs := make(chan error, 10)
	m, err := session.New(session.Options{
		Initer:     func(context.Context, ...interface{}) (session.Store, error) { return store, nil },
		GCInterval: time.Second,
		ErrorFunc:  func(err error) { errs <- err },
	})
	require.NoError(t, err)
	<-calls
	require.EqualError(t, <-errs, "gc failed")
	require.NoError(t, m.Close())
	require.NoError(t, m.Close(), "closing again does nothing")
	select {
	case <-calls:
		t.Error("GC ran after Close")
	case <-time.After(time.Hour):
	}
}

type gcStore struct {
	session.Store
	calls chan struct{}
	err   error
}

func (s gcStore) GC(context.Context) error {
	s.calls <- struct{}{}
	return s.err
}

func TestBadOptions(t *testing.T) {
	for want, opts := range map[string]session.Options{
		"__Host-":                         {Cookie: session.CookieOptions{Name: "__Host-s"}},
		`"__Host-" needs Secure, Path`:    {Cookie: session.CookieOptions{Name: "__Host-s", Secure: true, Path: "/a"}},
		"no Domain":                       {Cookie: session.CookieOptions{Name: "__Host-s", Secure: true, Domain: "example.com"}},
		"__Secure-":                       {Cookie: session.CookieOptions{Name: "__Secure-s"}},
		"SameSite=None needs Secure":      {Cookie: session.CookieOptions{SameSite: http.SameSiteNoneMode}},
		"artitioned":                      {Cookie: session.CookieOptions{Partitioned: true}},
		"400 days":                        {Cookie: session.CookieOptions{MaxAge: 401 * 24 * 3600}},
		"MaxAge is -1":                    {Cookie: session.CookieOptions{MaxAge: -1}},
		"invalid Cookie.Name":             {Cookie: session.CookieOptions{Name: "a b"}},
		"in Cookie.Path":                  {Cookie: session.CookieOptions{Path: "/a;b"}},
		"invalid Cookie.Domain":           {Cookie: session.CookieOptions{Domain: "a b"}},
		"IDLength is 256":                 {IDLength: 256},
		"want a config of type session.M": {Config: session.FileConfig{}},
		"want a config of type session.F": {Initer: session.FileIniter(), Config: &session.FileConfig{}},
		"refused by the database":         {Initer: failingIniter},
		"returned no store":               {Initer: func(context.Context, ...interface{}) (session.Store, error) { return nil, nil }},
	} {
		m, err := session.New(opts)
		require.Nil(t, m)
		require.ErrorContains(t, err, want)
		require.PanicsWithValue(t, "session: "+err.Error(), func() { session.Sessioner(opts) })
	}
}

func failingIniter(context.Context, ...interface{}) (session.Store, error) {
	return nil, errors.New("refused by the database")
}

func TestIniterArgs(t *testing.T) {
	ctx := context.Background()
	writer := session.IDWriter(func(http.ResponseWriter, *http.Request, string) {})
	for _, initer := range []session.Initer{session.MemoryIniter(), session.FileIniter()} {
		_, err := initer(ctx)
		require.EqualError(t, err, "IDWriter not given")
		_, err = initer(ctx, nil, writer)
		require.NoError(t, err)
		_, err = initer(ctx, writer, "a string")
		require.ErrorContains(t, err, "string")
	}
	_, err := session.FileIniter()(ctx, writer, session.FileConfig{RootDir: t.TempDir()})
	require.NoError(t, err, "any order will do")

	type config struct{ A int }
	initer := session.NewIniter(func(context.Context, config) (session.Backend, session.StoreConfig, error) {
		return nil, session.StoreConfig{}, errors.New("cannot open")
	})
	_, err = initer(ctx, writer)
	require.EqualError(t, err, "config of type session_test.config not given")
	_, err = initer(ctx, writer, &config{})
	require.ErrorContains(t, err, "want a config of type session_test.config")
	_, err = initer(ctx, writer, config{})
	require.EqualError(t, err, "cannot open")
}
