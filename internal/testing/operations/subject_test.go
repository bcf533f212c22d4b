package operations

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// lifetime is the one of the page, where a line needs it.
const lifetime = 24 * time.Hour

// These sessions are there before a line is run. The page ends the session of the ID first, and
// those of alice. In MySQL her name is equal to the one with a space.
const (
	first  = "5x1w0aq7m2kd94bn" // of alice
	second = "second0000000000" // of alice
	spaced = "spaced0000000000" // of "alice "
	nobody = "nobody0000000000" // of nobody
	dead   = "dead000000000000" // of alice; has expired, and is not swept
	short  = "short00000000000" // of alice; has ten minutes to live
)

// hashed is where Options.HashIDs keeps the session of the ID first.
var hashed = "h" + sumOf(first)

var live = []string{first, second, spaced, nobody}

func sumOf(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// subject is a store, and how its lines are run.
type subject struct {
	opts    session.Options
	run     func(t *testing.T, b block) string // returns what is printed
	blocks  []block
	digests bool            // lists have digests
	keeps   bool            // what has expired is there until it is swept
	entries func() []string // of alice in an index that is apart from the records; nil if there is none
	stale   bool            // a list leaves the entries of sessions that have ended
	oneSize bool            // an ID has 16 characters, so there are no hashes
	size    string          // what the block Size prints

	store session.Store
}

var reads = []string{"Count", "List", "List the sessions of an owner"}

// all are the labels that each section has. There may be more ways to end everything.
var all = append(reads[:3:3], "End one session", "End one session, by its digest", "End all sessions of an owner",
	"End everything", "Shorten", "Size")

// test runs all blocks.
func (s *subject) test(t *testing.T) {
	s.open(t)
	var have []string
	for _, b := range s.blocks {
		have = append(have, b.label)
	}
	want := all
	if slices.Contains(have, "End everything at once") {
		want = slices.Insert(slices.Clone(all), slices.Index(all, "Shorten"), "End everything at once")
	}
	require.Equal(t, want, have)

	s.fill(t)
	s.put(t, dead, "alice", time.Second)
	s.await(t, func() bool { return !s.store.Exist(t.Context(), dead) })
	for _, b := range s.blocks {
		if !slices.Contains(reads, b.label) {
			s.fill(t)
		}
		check := map[string]func(*testing.T, block){
			"Count":                          s.count,
			"List":                           s.list,
			"List the sessions of an owner":  s.listOwned,
			"End one session":                s.endOne,
			"End one session, by its digest": s.endByDigest,
			"End all sessions of an owner":   s.endOwned,
			"End everything":                 s.endAll,
			"End everything at once":         s.endAll,
			"Shorten":                        s.shorten,
			"Size": func(t *testing.T, b block) {
				require.Regexp(t, regexp.MustCompile("^"+s.size+"$"), s.run(t, b))
			},
		}[b.label]
		check(t, b)
	}
}

func (s *subject) open(t *testing.T) {
	s.opts.OwnerKey, s.opts.ErrorFunc = "user", func(err error) { t.Error(err) }
	m, err := session.New(s.opts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, m.Close()) })
	s.store = m.Store()
}

// await waits for what comes soon. The limit is for what never comes.
func (s *subject) await(t *testing.T, done func() bool) {
	t.Helper()
	require.Eventually(t, done, time.Minute, 20*time.Millisecond)
}

func (s *subject) put(t *testing.T, id, owner string, lifetime time.Duration) {
	t.Helper()
	for _, text := range []string{"begun", "private"} { // of files that makes a second one
		v, err := s.store.Read(t.Context(), id)
		require.NoError(t, err)
		v.Set("text", text)
		v.Set("user", owner)
		if lifetime > 0 {
			require.NoError(t, session.SetLifetime(v, lifetime))
		}
		require.NoError(t, s.store.Save(t.Context(), v))
	}
}

// ids are the IDs of all sessions that a test may make.
func (s *subject) ids() []string {
	ids := append(live[:4:4], short, dead)
	if !s.oneSize {
		ids = append(ids, hashed)
	}
	return ids
}

// fill makes the sessions, and no others.
func (s *subject) fill(t *testing.T) {
	t.Helper()
	for _, id := range s.ids() {
		require.NoError(t, s.store.Destroy(t.Context(), id))
	}
	s.put(t, first, "alice", 0)
	s.put(t, second, "alice", 0)
	s.put(t, spaced, "alice ", 0)
	s.put(t, nobody, "", 0)
}

// alive checks which sessions are live.
func (s *subject) alive(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, id := range s.ids() {
		if s.store.Exist(t.Context(), id) {
			got = append(got, id)
		}
	}
	require.Equal(t, want, got)
}

func (s *subject) owned(t *testing.T, owner string) []session.Info {
	t.Helper()
	infos, err := session.Owned(t.Context(), s.store, owner)
	require.NoError(t, err)
	return infos
}

// end runs a line that ends sessions beside requests that have read all sessions, and that save
// theirs afterwards.
func (s *subject) end(t *testing.T, b block, left ...string) string {
	t.Helper()
	var held []session.Session
	for _, id := range s.ids() {
		if s.store.Exist(t.Context(), id) {
			v, err := s.store.Read(t.Context(), id)
			require.NoError(t, err)
			held = append(held, v)
		}
	}
	out := s.run(t, b)
	s.alive(t, left...)
	for _, v := range held {
		v.Set("late", true)
		require.NoError(t, s.store.Save(t.Context(), v))
	}
	s.alive(t, left...)
	return out
}

func (s *subject) count(t *testing.T, b block) {
	want := []string{"4"}
	if s.keeps {
		want = []string{"4", "1"}
	}
	require.Equal(t, want, strings.Fields(s.run(t, b)))
}

func (s *subject) list(t *testing.T, b block) { s.lists(t, b, live...) }

func (s *subject) listOwned(t *testing.T, b block) { s.lists(t, b, first, second) }

// lists checks that a line lists these sessions, and neither an ID nor data.
func (s *subject) lists(t *testing.T, b block, ids ...string) {
	t.Helper()
	out := s.run(t, b)
	for _, secret := range append(live[:4:4], dead, "private", `"data"`) {
		require.NotContains(t, out, secret)
	}
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(out), "\n"), func(line string) bool {
		return s.entries != nil && strings.HasSuffix(line, " -2") // the entry of a session that has ended
	})
	require.Len(t, lines, len(ids), out)
	for _, id := range ids {
		if s.digests {
			require.Contains(t, out, sumOf(id)[:20])
		}
	}
}

func (s *subject) endOne(t *testing.T, b block) { s.end(t, b, second, spaced, nobody) }

// endByDigest ends the session of the ID where the ID is stored, if the store has lists of digests, and
// where its hash is.
func (s *subject) endByDigest(t *testing.T, b block) {
	if s.digests {
		s.end(t, b, second, spaced, nobody)
	}
	if s.oneSize {
		return
	}
	s.fill(t)
	require.NoError(t, s.store.Destroy(t.Context(), first))
	s.put(t, hashed, "alice", 0)
	s.end(t, b, second, spaced, nobody)
}

// endOwned also looks at the index: what is left there is no session, and new sessions are found.
func (s *subject) endOwned(t *testing.T, b block) {
	s.end(t, b, spaced, nobody)
	if s.entries != nil {
		require.Subset(t, s.entries(), []string{first, second})
	}
	require.Empty(t, s.owned(t, "alice"))
	if s.entries != nil && !s.stale {
		require.Empty(t, s.entries())
	}
	s.put(t, first, "alice", 0)
	require.Len(t, s.owned(t, "alice"), 1)
	require.Len(t, s.owned(t, "alice "), 1)
}

func (s *subject) endAll(t *testing.T, b block) {
	s.end(t, b)
	s.put(t, first, "alice", 0)
	s.alive(t, first)
	require.Len(t, s.owned(t, "alice"), 1)
}

// shorten also checks that no session gets more time, and that a session which is used goes on.
func (s *subject) shorten(t *testing.T, b block) {
	s.put(t, short, "alice", 10*time.Minute)
	start := time.Now()
	s.run(t, b)
	s.alive(t, append(live[:4:4], short)...)
	infos := append(s.owned(t, "alice"), s.owned(t, "alice ")...)
	require.Len(t, infos, 4)
	left := func(info session.Info) time.Duration { return info.Expires.Sub(start) }
	slices.SortFunc(infos, func(a, b session.Info) int { return a.Expires.Compare(b.Expires) })
	require.Less(t, left(infos[0]), 30*time.Minute, "the session with ten minutes")
	for _, info := range infos[1:] {
		require.Greater(t, left(info), 30*time.Minute)
		require.Less(t, left(info), 2*time.Hour)
	}
	require.NoError(t, s.store.Touch(context.WithoutCancel(t.Context()), first))
	require.True(t, slices.ContainsFunc(s.owned(t, "alice"), func(info session.Info) bool { return left(info) > 20*time.Hour }))
}

// small makes batches of two, so that some sessions take several. A block that says "again" is run
// again by its test.
func small(code string) string { return regexp.MustCompile(`\b1000\b`).ReplaceAllString(code, "2") }
