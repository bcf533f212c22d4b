package session_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

var isID = regexp.MustCompile(`\A[0-9a-z]{3,255}\z`).MatchString

// isOnWire reports whether a field of a header may hold the text. Package net/http refuses
// requests with others.
func isOnWire(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// FuzzSessionID has a client send any text as its session ID. No text becomes the ID of a session,
// unless AdoptUnknownIDs is set and the text has the form of an ID. A text of another form never
// reaches the backend, whoever hands it to the store.
func FuzzSessionID(f *testing.F) {
	for _, text := range []string{"", "ab", "abc", "aaaaaaaaaaaaaaaa", "AAAAAAAAAAAAAAAA", "../../../../../..", "aaaaaaaaaaaaaaa\x00", "ääääääää", strings.Repeat("a", 255), strings.Repeat("a", 256)} {
		f.Add(text)
	}
	var text string
	var asked []string
	backend := before(func(_ context.Context, method, sid string) error {
		if method != "Sweep" {
			asked = append(asked, sid)
		}
		return nil
	})
	open := func(adopt bool) *app {
		opts := backendOptions(backend)
		opts.AdoptUnknownIDs = adopt
		opts.ReadIDFunc = func(*http.Request) string { return text }
		a := newApp(f, opts)
		a.Get("/", func(s session.Session) string { return s.ID() })
		return a
	}
	plain, adopting := open(false), open(true)
	visit := func(a *app) string {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		return w.Body.String()
	}
	f.Fuzz(func(t *testing.T, id string) {
		text, asked = id, nil
		valid := isID(id)
		require.NotEqual(t, id, visit(plain))
		require.Equal(t, valid && len(id) == 16, visit(adopting) == id)
		store, ctx := plain.Store(), t.Context()
		require.False(t, store.Exist(ctx, id))
		_, err := store.Read(ctx, id)
		require.Equal(t, valid, err == nil)
		s := session.NewBaseSession(id, nil, nil)
		s.Set("key", 1)
		for _, err := range []error{store.Save(ctx, s), store.Touch(ctx, id), store.Destroy(ctx, id)} {
			require.Equal(t, valid, err == nil)
		}
		if !valid {
			require.Empty(t, asked)
		}
		require.Empty(t, backend.Records)
	})
}

// FuzzCookieHeader has a client send any Cookie header. The Manager finds the IDs that net/http
// finds, at most four, those of the usual length first. An ID that is put in their place is then
// the only one that net/http finds, and the cookies of others are as they were.
func FuzzCookieHeader(f *testing.F) {
	for _, lines := range [][2]string{
		{"flamego_session=aaaaaaaaaaaaaaaa", ""},
		{`a=1; flamego_session="aaaaaaaaaaaaaaaa"; b`, "flamego_session=abc;flamego_session=abcd"},
		{"flamego_session=;;flamego_session", "flamego_session==aaaaaaaaaaaaaaaa; flamego_session2=aaaaaaaaaaaaaaaa"},
		{"\tflamego_session=aaaaaaaaaaaaaaaa \t;", " FLAMEGO_SESSION=aaaaaaaaaaaaaaaa"},
		{strings.Repeat("flamego_session=aaaaaaaaaaaaaaaa;", 6), `flamego_session=""; flamego_session="; x="flamego_session=abc"`},
	} {
		f.Add(lines[0], lines[1])
	}
	const name, fresh = "flamego_session", "nnnnnnnnnnnnnnnn"
	spaced := regexp.MustCompile(name + "[ \t]+=") // which no browser sends, and only net/http takes
	a := newApp(f, session.Options{})
	f.Fuzz(func(t *testing.T, one, two string) {
		if !isOnWire(one) || !isOnWire(two) || spaced.MatchString(one+";"+two) {
			t.Skip()
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Cookie"] = []string{one, two}
		var usual, unusual []string
		for _, c := range r.CookiesNamed(name) {
			switch {
			case !isID(c.Value):
			case len(c.Value) == 16:
				usual = append(usual, c.Value)
			default:
				unusual = append(unusual, c.Value)
			}
		}
		want := slices.Concat(usual[:min(4, len(usual))], unusual[:min(4, len(unusual))])
		want = want[:min(4, len(want))]
		got := session.ReadIDs(a.Manager, r)
		if !slices.Equal(got, want) {
			t.Fatalf("the IDs are %q, net/http finds %q", got, want)
		}

		others := func() (pairs []string) {
			for _, c := range r.Cookies() {
				if c.Name != name {
					pairs = append(pairs, c.String())
				}
			}
			return pairs
		}
		before := others()
		session.PutInRequest(a.Manager, r, fresh)
		after := r.CookiesNamed(name)
		require.Len(t, after, 1, r.Header["Cookie"])
		require.Equal(t, fresh, after[0].Value)
		require.Equal(t, before, others())
	})
}

// cachePolicy is what a strict cache takes from lines of Cache-Control (RFC 9111, section 5.2):
// directives that do not follow the grammar are none, nor is anything after quotes that do not end.
type cachePolicy struct{ private, public bool }

var (
	directive = regexp.MustCompile(`\A[ \t]*([!#$%&'*+.^_|~0-9A-Za-z\x60-]+)(?:=([!#$%&'*+.^_|~0-9A-Za-z\x60-]+|"(?:[^"\\]|\\.)*"))?[ \t]*(?:,|\z)`)
	upToComma = regexp.MustCompile(`\A(?:[^",]|"(?:[^"\\]|\\.)*")*(?:,|\z)`)
)

func policyOf(lines []string) (p cachePolicy) {
	for rest := strings.Join(lines, ", "); rest != ""; {
		match := directive.FindStringSubmatch(rest)
		if match == nil {
			skipped := upToComma.FindString(rest)
			if skipped == "" {
				break // quotes without an end
			}
			rest = rest[len(skipped):]
			continue
		}
		rest = rest[len(match[0]):]
		value := strings.Trim(match[2], `"`)
		seconds, err := strconv.Atoi(value)
		switch name := strings.ToLower(match[1]); {
		case name == "no-store" && match[2] == "", name == "private" && match[2] == "":
			p.private = true
		case name == "public", name == "s-maxage" && err == nil, name == "max-age" && err == nil && seconds > 0:
			p.public = true
		}
	}
	return p
}

// FuzzCacheControl has an app send any Cache-Control with the cookie. No cache that reads the header
// to the letter may keep the response, and the middleware sees whatever lets such a cache keep it.
func FuzzCacheControl(f *testing.F) {
	for _, lines := range [][2]string{
		{"public, max-age=60", ""}, {"private", "max-age=60"}, {`max-age="60", private="set-cookie"`, "s-maxage=0"},
		{`max-age=60, ext="\", private, x"`, ""}, {`max-age=60, ext="abc`, "private"}, {"max-age=60, \vprivate", "no-store=x"},
		{"PUBLIC,,No-Store", " , "}, {"private =1, max-age=99999999999999999999", "private="},
	} {
		f.Add(lines[0], lines[1])
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		if !isOnWire(one) || !isOnWire(two) {
			t.Skip()
		}
		const lower = "cache-control" // as an app may write it by hand
		for _, name := range []string{"Cache-Control", lower} {
			h := http.Header{"Cache-Control": {one}, "Set-Cookie": {"x=1"}}
			h[name] = append(h[name], two)
			before := policyOf([]string{one, two})
			shared := session.KeepPrivate(h)
			if before.public && !before.private && !shared {
				t.Fatalf("a cache keeps %q", []string{one, two})
			}
			lines := h["Cache-Control"]
			if after := policyOf(lines); !after.private || len(h[lower]) > 0 { //nolint:staticcheck // as an app may write it
				t.Fatalf("%q has become %q, which a cache keeps", []string{one, two}, h)
			}
			word := func(s string) bool { return strings.Contains(strings.ToLower(one+two), s) }
			if shared && !word("public") && !word("max") && !strings.ContainsAny(one+two, `"\`) {
				t.Fatalf("nothing lets a cache keep %q", []string{one, two})
			}
		}
	})
}

// FuzzFileName has files of any names, long dead, in the folders of sessions and of owners. GC
// removes those that can be a session, its second file or the entry of an owner, and no other.
func FuzzFileName(f *testing.F) {
	for _, name := range []string{"abc", "ab", "abcd.tmp", "~bc", "~abc", "~", "ABC", "abC", ".abc", "bac", "abä", strings.Repeat("a", 32), strings.Repeat("0f", 16), strings.Repeat("0F", 16), "keep me"} {
		f.Add(name)
	}
	root := f.TempDir()
	store := newApp(f, session.Options{Initer: session.FileIniter(), Config: session.FileConfig{RootDir: root}, OwnerKey: "user"}).Store()
	old := time.Now().Add(-48 * time.Hour)
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" || name == "." || name == ".." || name == ".lock" || len(name) > 255 || strings.ContainsAny(name, "/\x00") {
			t.Skip()
		}
		isHash := len(name) == 32 && regexp.MustCompile(`\A[0-9a-f]+\z`).MatchString(name)
		files := map[string]bool{ // and whether GC is to remove it
			filepath.Join("a", "b", name):                          isID(name) && strings.HasPrefix(name, "ab") || strings.HasPrefix(name, "~b") && isID("a"+name[1:]),
			filepath.Join(name, "in a folder"):                     false,
			filepath.Join("q", name, "in a folder"):                false,
			filepath.Join(".owner", name, "abc"):                   isHash,
			filepath.Join(".owner", strings.Repeat("0", 32), name): isID(name),
		}
		for file := range files {
			path := filepath.Join(root, file)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
			require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
			require.NoError(t, os.Chtimes(path, old, old))
		}
		require.NoError(t, store.GC(context.Background()))
		for file, gone := range files {
			_, err := os.Lstat(filepath.Join(root, file))
			require.Equal(t, gone, os.IsNotExist(err), "%q: %v", file, err)
		}
		for _, dir := range []string{"a", "q", name, ".owner"} {
			require.NoError(t, os.RemoveAll(filepath.Join(root, dir)))
		}
	})
}
