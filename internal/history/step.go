// Package history finds out whether what several clients of one session did and saw can have
// happened in any order at all. Package storetest and internal/faults play such histories.
//
// # Model
//
// A history is a list of steps: requests, saves by hand, calls of the store. A [Client] notes of
// each step what it read, what it did, and between which ticks of a clock. The clock is whatever
// all clients share, so that clients of two processes can take steps of one history. [Check] reads
// the finished list and returns what is wrong with it, with the steps that show it.
//
// Each value is written by one step and never again, so a value that is read names its writer.
// That holds for additions, too: what is added by session.Update to [SumKey] is one word of its
// own, and so a word that is there twice was counted twice.
//
// # Limits
//
// Steps whose spans overlap are given the benefit of the doubt, and so are steps that have failed.
// What a renewal promises to requests that come with the old ID is checked only of renewals that no
// fault can have hit: see [Step.Calm].
// A history in which everything fails shows nothing. All sessions of a history have the same
// owner, so that session.EndOwned ends all of them.
package history

import (
	"slices"
	"strings"
	"time"
)

// FlashKey stands among the keys of a step for the flash.
const FlashKey = "flash"

// SumKey is the key of a sum: of words that session.Update has added.
const SumKey = "sum"

// Root is the key that nobody deletes, so that a session in which nothing is seen is most probably
// not there.
const Root = "root"

// Keys are the keys of a history, without those of the flash and the sum.
var Keys = []string{Root, "a", "b", "c", "d"}

var allKeys = append(slices.Clone(Keys), FlashKey, SumKey)

// The kinds of steps that a check knows. Others neither read nor take a flash.
const (
	Request = "request"
	Save    = "read and save"
	// TurnedAway is a request that has ended before its handler ran.
	TurnedAway = "request without a handler"
)

// Step is one request, one read and save by hand, or one call of the store, with
// the times between which it had its effects: it read between Begin and Read,
// and committed between Commit and End.
type Step struct {
	Client, N                int
	Kind                     string
	Sent, ID                 string // the ID it came with, and the one it left the data under
	Unknown                  string // the ID it came with, if the store did not know it: then Sent is empty
	Begin, Read, Commit, End int64
	Since, Until             time.Time // when a request began and ended, by the clock on the wall
	Did                      []string

	Seen      map[string]string // what it read, without the keys that were absent
	Flushed   bool
	Keys      map[string]string // what it set, empty for a key that it deleted
	Added     []string          // words that it added to the sum, after a flush if it flushed
	Ended     bool              // it ended the session
	EndsOwned bool              // it ended all sessions of the owner, but for the one that it came with
	Dropped   bool              // it was told that its session is gone
	Saved     bool              // what it did is in the store, for sure
	Failed    bool              // it was told that what it did may be in the store or not
	Renewed   bool              // it asked for a new ID
	GaveBack  bool              // the flash that it took, if there was one, was perhaps given back
	Calm      bool              // no fault can have hit it: who takes the step knows
}

// empty reports whether the session may not have been there when it was read.
func (s *Step) empty() bool { return len(s.Seen) == 0 }

// effect returns what the step made of a key, if anything.
func (s *Step) effect(key string) (val string, ok bool) {
	val, ok = s.Keys[key]
	return val, ok || s.Flushed
}

func (s *Step) reads() bool { return s.Kind == Request || s.Kind == Save }

// takes reports whether a flash that there is would have been taken.
func (s *Step) takes() bool { return s.Kind == Request || s.Kind == TurnedAway }

// receives reports whether the flash that the step took, if any, is known.
func (s *Step) receives() bool { return s.Kind == Request && !s.GaveBack }

// changes reports whether the step has changes to be stored.
func (s *Step) changes() bool { return s.Flushed || len(s.Keys) > 0 || len(s.Added) > 0 }

// written calls yield for each value that the step has left, and its key.
func (s *Step) written(yield func(key, val string) bool) {
	for key, val := range s.Keys {
		if val != "" && !yield(key, val) {
			return
		}
	}
	for _, val := range s.Added {
		if !yield(SumKey, val) {
			return
		}
	}
}

// read calls yield for each value that the step has seen, and its key.
func (s *Step) read(yield func(key, val string) bool) {
	for key, val := range s.Seen {
		for _, val := range values(key, val) {
			if !yield(key, val) {
				return
			}
		}
	}
}

// wrote reports whether the step has left a value under a key.
func (s *Step) wrote(key, val string) bool {
	return s.Keys[key] == val && val != "" || key == SumKey && slices.Contains(s.Added, val)
}

// values returns what was seen under a key as the values that were written.
func values(key, seen string) []string {
	switch {
	case seen == "":
		return nil
	case key == SumKey:
		return strings.Fields(seen)
	}
	return []string{seen}
}
