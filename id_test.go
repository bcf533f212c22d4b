package session_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

func TestIDs(t *testing.T) {
	for length, want := range map[int]int{0: 16, 2: 16, -1: 16, 3: 3, 40: 40} {
		a := newApp(t, session.Options{IDLength: length})
		a.Get("/", func(s session.Session) string { return s.ID() })
		require.Len(t, a.get("/").Body.String(), want)
	}
}

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

func TestIDAllocations(t *testing.T) {
	n := testing.AllocsPerRun(1000, func() { _, _ = session.NewID(16) })
	require.LessOrEqual(t, n, 1.0)
}

func BenchmarkNewID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if sid, err := session.NewID(16); err != nil || len(sid) != 16 {
			b.Fatal(sid, err)
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

func TestInvalidIDsNeverReachTheStore(t *testing.T) {
	var seen []string
	a := newApp(t, backendOptions(noting(&seen)))
	a.Get("/", func() string { return "ok" })
	for _, value := range []string{"", "a", "aa", "Short", "AAAAAAAAAAAAAAAA", "../../../../../..", "aaaaaaaa%00aaaaa", `"aaaaaaaaaaaaa-"`, strings.Repeat("a", 4096)} {
		a.cookie = "flamego_session=" + value
		w := a.get("/")
		require.Equal(t, http.StatusOK, w.Code)
		require.Len(t, w.Header().Values("Set-Cookie"), 1)
	}
	require.Empty(t, seen)
	a.cookie = "flamego_session=aaaaaaaaaaaaaaaa"
	a.get("/")
	require.Equal(t, []string{"aaaaaaaaaaaaaaaa"}, seen)
}

// A ReadIDFunc may come up with anything, a cookie cannot.
func TestInvalidIDsFromReadIDFunc(t *testing.T) {
	var seen []string
	var sid string
	opts := backendOptions(noting(&seen))
	opts.ReadIDFunc = func(*http.Request) string { return sid }
	a := newApp(t, opts)
	a.Get("/", func(s session.Session) string { return s.ID() })
	for _, sid = range []string{"aaaaaaaaaaaaaaa\x00", "aaaaaaaa%00aaaaa", "ääääääää", "aaaaaaaaaaaaaaaА", "../aaaaaaaaaaaaa", "aaaaaaaaaaaaaaa\n", "A000000000000000", strings.Repeat("a", 4096)} {
		require.NotEqual(t, sid, a.get("/").Body.String())
	}
	require.Empty(t, seen)
}
