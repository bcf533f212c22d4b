package state

import "time"

// A mark is a record that stands under an ID that was given up for a new one, and says
// so. Whoever comes with the old ID a moment later, because the browser sent its request
// before it had the new one, is then told from somebody whose session was ended.

// MarkFor is how long a mark counts: longer than a browser takes to have the new ID in
// all of its requests.
const MarkFor = 10 * time.Second

// renewedKey is the only key of a mark. Its value is the time of the renewal as text,
// which every encoder can encode.
const renewedKey = reserved + "renewed"

// Mark returns the values of a mark.
func Mark(now time.Time) map[any]any {
	return map[any]any{renewedKey: now.Format(time.RFC3339Nano)}
}

// IsMark reports whether the values are those of a mark. A process of an older version
// takes a mark for a session and may set keys in it: it stays a mark all the same, since
// the ID is dead.
func IsMark(v Values) bool { return v != nil && v.Get(renewedKey) != nil }

// IsMark is IsMark, faster: no older version has written to the list.
func (l *List) IsMark() bool { return len(*l) == 1 && (*l)[0].key == renewedKey }

// MarkCounts reports whether a mark is that of a renewal less than MarkFor ago. That is
// what the time in it says, as somebody may have extended the mark. But the clocks of two
// processes may differ. So a mark that lives no longer than MarkFor, by the clock of the
// store, counts as well, unless its time is that of long ago. No mark counts from a clock
// that is far ahead.
func MarkCounts(v Values, left time.Duration, now time.Time) bool {
	const (
		rounding = time.Second // stores of whole seconds round up
		longAgo  = time.Minute
	)
	text, _ := v.Get(renewedKey).(string)
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return false
	}
	age := now.Sub(at)
	return age > -longAgo && (age < MarkFor || age < longAgo && left <= MarkFor+rounding)
}
