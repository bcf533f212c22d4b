package backendtest

import (
	"bytes"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/storetest"
)

// When says when a backend runs the longer rules.
type When bool

const (
	// InFull is in "make test-full" only, where all rounds are played.
	InFull When = false
	// Always is in "make test", too.
	Always When = true
)

// full is what "make test-full" sets, as for package storetest.
var full = os.Getenv("STORETEST_FULL") != ""

// IsNow reports whether the rules run in this run of the tests.
func (w When) IsNow() bool { return w == Always || full }

// variants are options that change what is stored, and nothing that a visitor sees.
var variants = map[string]func(*session.Options){
	"protected": func(o *session.Options) { o.Keys, o.HashIDs = [][]byte{keyOne, keyTwo}, session.HashOnly },
}

var keyOne, keyTwo = bytes.Repeat([]byte("1"), 32), bytes.Repeat([]byte("2"), 32)

// rollOuts bring the options to a running app.
var rollOuts = map[string][]Step{"keys": KeysSteps, "hashes": HashSteps}

// Conformance runs the conformance suite, and then, if it is time for that, the suite once more
// with each of the options that change what is stored, and the roll-out of each of them.
func Conformance(t *testing.T, when When, open storetest.Open, traits ...storetest.Trait) {
	storetest.Run(t, open, traits...)
	if !when.IsNow() {
		return
	}
	for name, change := range variants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, with(open, change), traits...)
		})
	}
	if slices.Contains(traits, storetest.Private) {
		return // there is one instance
	}
	for name, steps := range rollOuts {
		t.Run("roll-out of "+name, func(t *testing.T) {
			t.Parallel()
			RollOut(t, open, steps)
		})
	}
}

// with opens stores with other options.
func with(open storetest.Open, change func(*session.Options)) storetest.Open {
	return func(t testing.TB, lifetime time.Duration) session.Options {
		t.Helper()
		opts := open(t, lifetime)
		change(&opts)
		return opts
	}
}
