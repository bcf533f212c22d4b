package errtext_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/flamego/session/redis/internal/errtext"
)

type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

// What servers say, old ones as well, and what becomes of it.
func TestReplies(t *testing.T) {
	const call = "ERR Error running script (call to f_0123456789abcdef0123456789abcdef01234567): @user_script:7: @user_script: 7: "
	for text, want := range map[string]struct {
		text             string
		notDone, passing bool
	}{
		"LOADING Redis is loading the dataset in memory": {"LOADING the server is loading its data", true, true},
		call + "-READONLY You can't write against a read only replica. ": {
			"READONLY the server is a read-only replica", true, true,
		},
		call + "-OOM command not allowed when used memory > 'maxmemory'. ": {"OOM the memory of the server is full", true, false},
		call + "canary -READONLY ":            {"ERR the script failed", false, false},
		"ERR canary call to f_1): -READONLY ": {"ERR the server answered with an error", false, false},
		"READONLY You can't write against a read only replica. script: 0123, on @user_script:7.": {
			"READONLY the server is a read-only replica", true, true,
		},
		"NOPERM this user has no permissions to run the 'evalsha' command":               {"NOPERM the user has no permission (EVALSHA)", true, false},
		"NOPERM this user has no permissions to run the 'zremrangebyscore' command":      {"NOPERM the user has no permission (ZREMRANGEBYSCORE)", true, false},
		"NOPERM User canary has no permissions to run the 'cluster|slots' command":       {"NOPERM the user has no permission (CLUSTER)", true, false},
		"ERR unknown command `EVAL`, with args beginning with: `canary`, `0`, ":          {"ERR unknown command (EVAL)", true, false},
		"ERR The user executing the script can't run this command or subcommand script:": {"ERR the user has no permission for what the script does", false, false},
		"ERR max number of clients reached":                                              {"ERR the server has as many clients as it allows", true, true},
		"ERR canary":                                                                     {"ERR the server answered with an error", false, false},
		"CANARY":                                                                         {"the server answered with an error that is not known", false, false},
		"":                                                                               {"the server answered with an error that is not known", false, false},
	} {
		if got := errtext.Text(fmt.Errorf("canary: %w", reply(text))); got != want.text || strings.Contains(got, "canary") {
			t.Errorf("%q becomes %q, want %q", text, got, want.text)
		}
		if errtext.IsNotDone(text) != want.notDone || errtext.IsPassing(text) != want.passing {
			t.Errorf("%q: not done %v, passing %v", text, errtext.IsNotDone(text), errtext.IsPassing(text))
		}
	}
}

func TestRedacted(t *testing.T) {
	if errtext.Redacted(nil) != nil {
		t.Error("nil is an error")
	}
	original := reply("NOPERM canary")
	err := errtext.Redacted(original)
	if !errors.Is(err, original) || err.Error() != errtext.Redacted(fmt.Errorf("canary %w", err)).Error() {
		t.Error(err)
	}
}
