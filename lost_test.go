package session_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// lossy is a backend that makes what it is asked to insert and, while it is on, loses the answer, and
// cannot be asked for anything.
type lossy struct {
	*mapbackend.Backend
	on atomic.Bool
}

var errAnswerLost = errors.New("the answer is lost")

func (l *lossy) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	if l.on.Load() {
		return session.Record{}, false, errAnswerLost
	}
	return l.Backend.Load(ctx, sid)
}

func (l *lossy) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	ok, err := l.Backend.Insert(ctx, sid, rec)
	if l.on.Load() {
		return false, errAnswerLost
	}
	return ok, err
}

// A visitor is new, the first save by hand is made and its answer lost, and then the session gets
// another ID. It has to be told from one that was never stored: the record is renamed, and there
// is nothing in the way of that.
func TestRenewalAfterALostFirstSave(t *testing.T) {
	b := &lossy{Backend: mapbackend.New()}
	a := newApp(t, backendOptions(b))
	first := ""
	a.Get("/", func(w http.ResponseWriter, r *http.Request, s session.Session, store session.Store) string {
		s.Set("key", "kept")
		first = s.ID()
		b.on.Store(true)
		err := store.Save(r.Context(), s)
		b.on.Store(false)
		require.ErrorIs(t, err, errAnswerLost)
		require.NotContains(t, err.Error(), first)
		require.NoError(t, s.RegenerateID(w, r))
		return "ok"
	})
	require.Equal(t, "ok", a.get("/").Body.String())
	require.Empty(t, a.TakeErrors())
	require.NotEqual(t, first, sidOf(a.cookie))
	require.Equal(t, "kept", get(t, a.Store(), sidOf(a.cookie), "key"))
	require.False(t, a.Store().Exist(t.Context(), first))
}
