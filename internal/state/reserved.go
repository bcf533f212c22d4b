package state

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// The keys that this module has for itself. They stand among the keys of the app, where
// processes of older versions keep what they do not know. The values are text, which every
// encoder of an app can encode.
const (
	reserved = "flamego::session::"

	// FlashKey is the key under which a session keeps its flash. It is the one that an app
	// may use as any other.
	FlashKey = reserved + "flash"

	// Its value is when the session was first stored, or last got a new ID, in
	// milliseconds since 1970. If that was not noted then, it is since when the session is
	// counted, with late before it.
	bornKey = reserved + "born"
	// Its value is the lifetime of its own that the session has, in seconds.
	lifetimeKey = reserved + "lifetime"
	// Its value is the name of the last commit that has computed a value.
	commitKey = reserved + "commit"
)

// IsReserved reports whether only this module may use the key.
func IsReserved(key any) bool {
	text, ok := key.(string)
	return ok && strings.HasPrefix(text, reserved) && text != FlashKey
}

// IsOfApp reports whether a key is one of the app.
func IsOfApp(key any) bool { return key != FlashKey && !IsReserved(key) }

// outlivesFlush reports whether the value of a key is about the session itself, rather than
// what it holds.
func outlivesFlush(key any) bool { return key == bornKey || key == lifetimeKey }

const late = "since "

// Born returns since when the age of the session is counted: since it was first stored, or last
// got a new ID, and then known is true; or since that was found not to be noted, as by a process
// of an older version. It is zero if nothing is noted. A time that is far ahead is that of a wrong
// clock, and counts as not noted.
func Born(v Values, now time.Time) (born time.Time, known bool) {
	return bornAt(Get(v, bornKey), now)
}

func bornAt(val any, now time.Time) (born time.Time, known bool) {
	const ahead = time.Minute
	text, ok := val.(string)
	if !ok {
		return time.Time{}, false
	}
	text, isLate := strings.CutPrefix(text, late)
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms > now.Add(ahead).UnixMilli() {
		return time.Time{}, false
	}
	return time.UnixMilli(ms), !isLate
}

func bornText(now time.Time, known bool) string {
	text := strconv.FormatInt(now.UnixMilli(), 10)
	if !known {
		text = late + text
	}
	return text
}

// Lifetime returns the lifetime of its own that a session has, 0 if it has none.
func Lifetime(v Values) time.Duration {
	text, ok := Get(v, lifetimeKey).(string)
	if !ok {
		return 0
	}
	seconds, err := strconv.ParseInt(text, 10, 32)
	if err != nil || seconds < 1 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

func lifetimeText(seconds int32) string { return strconv.FormatInt(int64(seconds), 10) }

// NameCommit gives the values a name that no others have. Two requests may compute the same
// value, as two that count from one to two. Their bytes must not be the same, since equal bytes
// say that a write was made.
func NameCommit(m map[any]any) { m[commitKey] = strconv.FormatUint(rand.Uint64(), 36) }
