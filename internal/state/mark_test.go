package state_test

import (
	"testing"
	"time"

	"github.com/flamego/session/internal/state"
)

// A mark counts for as long as it was made for, also if somebody has extended it, or if
// clocks differ, and never again after that.
func TestMarkCounts(t *testing.T) {
	made := time.Now()
	mark := state.Map(state.Mark(made))
	list := state.ListOf(state.Mark(made)).Stored()
	if !state.IsMark(mark) || !list.IsMark() || state.IsMark(state.Map{"user": 1}) || state.IsMark(nil) {
		t.Error("a mark is not known, or something else is taken for one")
	}
	for _, tt := range []struct {
		age, left time.Duration
		want      bool
	}{
		{0, 10 * time.Second, true},
		{9 * time.Second, time.Second, true},
		{5 * time.Second, time.Hour, true},         // it was extended
		{-30 * time.Second, 5 * time.Second, true}, // the clock of the other process is ahead
		{30 * time.Second, 11 * time.Second, true}, // or behind; and whole seconds are rounded
		{11 * time.Second, time.Hour, false},       // it was extended
		{time.Hour, 5 * time.Second, false},        // it was extended, long ago
		{time.Hour - time.Second, time.Second / 2, false},
	} {
		for _, v := range []state.Values{mark, &list} {
			if got := state.MarkCounts(v, tt.left, made.Add(tt.age)); got != tt.want {
				t.Errorf("after %v, with %v left: %v", tt.age, tt.left, got)
			}
		}
	}
	if state.MarkCounts(state.Map{"flamego::session::renewed": "yesterday"}, time.Second, made) {
		t.Error("a mark without a time counts")
	}
}
