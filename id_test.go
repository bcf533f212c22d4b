package session_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// A million IDs: all different, and each character as often as any other.
func TestIDDistribution(t *testing.T) {
	const n = 1_000_000
	s := session.NewBaseSession("0123456789abcdef", session.GobEncoder, nil)
	seen := make(map[string]bool, n)
	var counts [256]int
	for range n {
		require.NoError(t, s.RegenerateID(nil, nil))
		sid := s.ID()
		if len(sid) != 16 || seen[sid] {
			t.Fatalf("an ID of length %d, or one seen before", len(sid))
		}
		seen[sid] = true
		for i := range len(sid) {
			counts[sid[i]]++
		}
	}
	want := float64(n * 16 / 36)
	for c, count := range counts {
		if (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') {
			require.InEpsilon(t, want, count, 0.01, "%c", c)
		} else {
			require.Zero(t, count)
		}
	}
}

// Without randomness there is no session: not for a new visitor, and no new ID
// for an old one.
func TestRandomSourceFails(t *testing.T) {
	a := newApp(t, session.Options{})
	a.Get("/", func(s session.Session, w http.ResponseWriter, r *http.Request) string {
		s.Set("key", 1)
		old := s.ID()
		if err := s.RegenerateID(w, r); err != nil {
			require.Equal(t, old, s.ID())
			return "no new ID"
		}
		return "new ID"
	})
	require.Equal(t, "new ID", a.get("/").Body.String())
	t.Cleanup(session.SetRandomSource(func([]byte) (int, error) { return 0, errors.New("no entropy") }))

	w := a.get("/")
	require.Equal(t, "no new ID", w.Body.String())
	require.Empty(t, w.Header().Values("Set-Cookie"))

	a.cookie = ""
	w = a.get("/")
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Empty(t, w.Header().Values("Set-Cookie"))
	errs := a.TakeErrors()
	require.Len(t, errs, 1)
	require.ErrorContains(t, errs[0], "no entropy")
}

func TestRegenerateIDAfterTheHeader(t *testing.T) {
	a := newApp(t, session.Options{})
	a.Get("/", func(s session.Session, w http.ResponseWriter, r *http.Request) {
		s.Set("key", 1)
		_, err := w.Write([]byte("begun"))
		require.NoError(t, err)
		old := s.ID()
		require.Error(t, s.RegenerateID(w, r))
		require.Equal(t, old, s.ID())
	})
	w := a.get("/")
	require.Len(t, w.Header().Values("Set-Cookie"), 1)
	require.True(t, a.Store().Exist(httptest.NewRequest(http.MethodGet, "/", nil).Context(), sidOf(a.cookie)))
}

func TestRegenerateIDOnTheFirstRequest(t *testing.T) {
	a := newApp(t, session.Options{})
	a.Get("/", func(s session.Session, w http.ResponseWriter, r *http.Request) string {
		s.Set("key", 1)
		require.NoError(t, s.RegenerateID(w, r))
		return s.ID()
	})
	w := a.get("/")
	require.Len(t, w.Header().Values("Set-Cookie"), 1, "never two of them")
	require.Equal(t, w.Body.String(), sidOf(a.cookie))
	require.Equal(t, 1, get(t, a.Store(), sidOf(a.cookie), "key"))
}
