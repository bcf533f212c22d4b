package main

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/testing/webapp"
)

// handles returns the handles on the page of the devices, this one first.
func (b *browser) handles() []string {
	b.t.Helper()
	page := b.page("/devices")
	var this, others []string
	for _, item := range strings.Split(page, "<li>")[1:] {
		handle := regexp.MustCompile(`value="([a-z2-7]{16})"`).FindStringSubmatch(item)
		require.NotNil(b.t, handle, item)
		if strings.Contains(item, `<span class="tag">this device</span>`) {
			this = append(this, handle[1])
		} else {
			others = append(others, handle[1])
		}
	}
	require.Len(b.t, this, 1, page)
	return append(this, others...)
}

func TestDevices(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	laptop, stranger := s.signedUp("alice"), s.signedUp("mallory")
	phone := s.visitor()
	r := webapp.Form("/signin", "name=alice&password=correct+horse&remember=on")
	r.Header.Set("User-Agent", "Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0")
	require.Equal(t, "/", phone.Do(r).Header().Get("Location"))
	tablet := s.signedIn("alice")

	require.Len(t, laptop.handles(), 3)
	page := laptop.page("/devices")
	assert.Contains(t, page, "Firefox on Android")
	assert.Equal(t, 1, strings.Count(page, `<span class="tag">remembered</span>`))
	assert.NotContains(t, page, strings.TrimPrefix(phone.Cookie, "flamego_session="), "an ID")

	// One of them ends. A stranger cannot do that.
	theirs := phone.handles()[0]
	stranger.post("/devices/end", "handle", theirs)
	assert.Contains(t, stranger.page("/devices"), "That device was signed out already.")
	assert.True(t, phone.isIn())
	assert.Equal(t, "/devices", laptop.post("/devices/end", "handle", theirs).Header().Get("Location"))
	assert.Contains(t, laptop.page("/devices"), "The device is signed out.")
	assert.False(t, phone.isIn())
	assert.True(t, tablet.isIn())
	laptop.post("/devices/end", "handle", theirs)
	assert.Contains(t, laptop.page("/devices"), "That device was signed out already.")

	// All others end.
	phone = s.signedIn("alice")
	assert.Equal(t, "/devices", laptop.post("/devices/end-others").Header().Get("Location"))
	assert.Contains(t, laptop.page("/devices"), "2 other devices are signed out.")
	assert.False(t, phone.isIn())
	assert.False(t, tablet.isIn())
	assert.True(t, laptop.isIn())
	assert.True(t, stranger.isIn())

	// A device ends itself, and has no cookie any more.
	w := laptop.post("/devices/end", "handle", laptop.handles()[0])
	assert.Equal(t, "/signin", w.Header().Get("Location"))
	assert.Empty(t, laptop.Cookie)
	assert.False(t, laptop.isIn())
}

// An eleventh sign-in ends the oldest one.
func TestMaxOwned(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first := s.signedUp("alice")
	for range 9 {
		s.signedIn("alice")
	}
	assert.True(t, first.isIn())
	s.signedIn("alice")
	assert.False(t, first.isIn())
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	laptop, phone := s.signedUp("alice"), s.signedIn("alice")
	for _, form := range [][3]string{
		{"wrong horse", "battery staple", "This is not your current password."},
		{password, "short", "needs at least 8 characters"},
		{password, strings.Repeat("a", 73), "at most 72 bytes count"},
	} {
		w := laptop.post("/password", "current", form[0], "password", form[1])
		assert.Contains(t, w.Body.String(), form[2])
		assert.GreaterOrEqual(t, w.Code, 400)
		assert.NotContains(t, w.Body.String(), "battery staple")
		assert.True(t, phone.isIn(), form)
	}

	before := laptop.Cookie
	require.Equal(t, "/", laptop.post("/password", "current", password, "password", "battery staple").Header().Get("Location"))
	assert.Contains(t, laptop.page("/"), "Your password is changed. All other devices are signed out.")
	assert.NotEqual(t, before, laptop.Cookie)
	assert.False(t, phone.isIn())
	assert.True(t, laptop.isIn())
	assert.Len(t, laptop.handles(), 1)
	assert.Equal(t, http.StatusUnauthorized, phone.post("/signin", "name", "alice", "password", password).Code)
	assert.Equal(t, "/session", phone.post("/signin", "name", "alice", "password", "battery staple").Header().Get("Location"))
}

// If the other sessions cannot be removed, they are signed out all the same, and the visitor is
// told that the password is changed.
func TestChangePasswordWithoutEnd(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	laptop, phone := s.signedUp("alice"), s.signedIn("alice")
	_, err := s.sessionsDB.ExecContext(t.Context(), "CREATE TRIGGER full BEFORE DELETE ON sessions BEGIN SELECT RAISE(ABORT, 'no'); END")
	require.NoError(t, err)
	laptop.page("/")
	laptop.post("/devices/end-others")
	require.True(t, phone.isIn(), "nothing can be removed")
	require.Equal(t, "/", laptop.post("/password", "current", password, "password", "battery staple").Header().Get("Location"))
	assert.Contains(t, laptop.page("/"), "Your password is changed. All other devices are signed out.")
	assert.False(t, phone.isIn())
}

// The version of the credentials locks out a session even if nobody ends it, as that of a sign-in
// that has checked the old password and is stored after the others have ended.
func TestOldCredentials(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	laptop, phone := s.signedUp("alice"), s.signedIn("alice")
	u, err := s.users.check(t.Context(), "alice", password)
	require.NoError(t, err)
	_, err = s.users.setPassword(t.Context(), u, "battery staple")
	require.NoError(t, err)
	assert.False(t, laptop.isIn())
	assert.False(t, phone.isIn())
	_, err = s.users.setPassword(t.Context(), u, "another staple")
	require.ErrorIs(t, err, errChanged, "the row is not what it was when the password was checked")

	phone.post("/signin", "name", "alice", "password", "battery staple")
	assert.Len(t, phone.handles(), 1, "the other one is no device that is signed in")
}

// Ten minutes after the password the pages that end sessions ask for it. The time is a fake one,
// so there is no network.
func TestConfirm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &site{t: t}
		s.open("memory", "")
		laptop, phone := s.signedUp("alice"), s.signedIn("alice")
		laptop.page("/") // has come back, so FirstLifetime is over
		other := phone.handles()[0]

		time.Sleep(confirmLifetime)
		assert.True(t, laptop.isIn(), "other pages do not ask")
		for _, path := range []string{"/devices/end", "/devices/end-others"} {
			require.Equal(t, "/confirm", laptop.post(path, "handle", other).Header().Get("Location"))
		}
		assert.True(t, phone.isIn())
		assert.Contains(t, laptop.page("/confirm"), "in the last 10 minutes")
		w := laptop.post("/confirm", "current", "wrong horse")
		assert.Equal(t, http.StatusUnauthorized, w.Code)
		assert.Contains(t, w.Body.String(), "This is not your current password.")
		require.Equal(t, "/confirm", laptop.post("/devices/end-others").Header().Get("Location"))

		before := laptop.Cookie
		require.Equal(t, "/devices", laptop.post("/confirm", "current", password).Header().Get("Location"))
		assert.NotEqual(t, before, laptop.Cookie)
		assert.Contains(t, laptop.page("/devices"), "Thank you. You can go on now.")
		require.Equal(t, "/devices", laptop.post("/devices/end-others").Header().Get("Location"))
		assert.False(t, phone.isIn())
		assert.True(t, laptop.isIn())

		time.Sleep(idleLifetime + time.Minute)
		assert.False(t, laptop.isIn(), "the session is over")
	})
}

func TestSessionPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.signedUp("alice")
	b.page("/")
	page := b.page("/session")
	assert.Contains(t, page, "<dd>SQLite</dd>")
	assert.Regexp(t, `<dt>Issued</dt><dd><time datetime="20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ">`+time.Now().UTC().Format("2 Jan 2006"), page)
	for _, key := range []string{"user_id", "credentials", "device", "remembered", "visits"} {
		assert.Contains(t, page, "<code>"+key+"</code>")
	}
	assert.Contains(t, page, b.handles()[0])
	assert.NotContains(t, page, strings.TrimPrefix(b.Cookie, "flamego_session="), "the ID")
}

func TestDeviceName(t *testing.T) {
	for agent, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36":                                   "Chrome on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36 Edg/139.0.0.0":           "Edge on Windows",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1": "Safari on iPhone",
		"curl/8.5.0":                        "curl",
		"":                                  "Unknown device",
		"a device":                          "a device",
		strings.Repeat("x", 39) + "öe":      strings.Repeat("x", 39),
		strings.Repeat("Mozilla/5.0 ", 1e5): strings.Repeat("Mozilla/5.0 ", 4)[:40],
	} {
		assert.Equal(t, want, deviceName(agent))
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		30 * time.Minute: "30 minutes", 29*time.Minute + 40*time.Second: "30 minutes", time.Hour: "60 minutes",
		2 * time.Hour: "2 hours", 30 * 24 * time.Hour: "30 days", time.Second: "a minute",
	} {
		assert.Equal(t, want, span(d), d)
	}
}
