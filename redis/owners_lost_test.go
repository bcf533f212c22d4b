package redis_test

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/redis"
)

// What becomes of a write with an owner if an answer is lost: an entry that is written ahead
// is written again, and a record never is.
func TestLostAnswersOfOwners(t *testing.T) {
	t.Parallel()
	single, node := testConfig(t), startCluster(t).Addr
	for name, test := range map[string]struct {
		config redis.Config
		apart  bool
	}{
		"one server": {single, false},
		"Cluster":    {redis.Config{Options: &redis.Options{Addr: node}, KeyPrefix: "session:"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var lose atomic.Pointer[string] // in the question whose answer is lost
			var losing atomic.Bool
			var asked atomic.Int64 // questions with the ID
			var p *tcpproxy.Proxy
			p = tcpproxy.New(t, test.config.Options.Addr, tcpproxy.Rules{
				Turn: func(question []byte) func() {
					if bytes.Contains(question, []byte("abc\r\n")) {
						asked.Add(1)
					}
					if key := lose.Load(); key != nil && bytes.Contains(question, []byte(*key)) {
						lose.Store(nil)
						losing.Store(true)
					}
					return func() {}
				},
				Answer: func(answer []byte) []byte {
					if losing.CompareAndSwap(true, false) {
						p.Cut()
					}
					return answer
				},
			})
			config, options := test.config, *test.config.Options
			config.Options, options.Addr = &options, p.Addr()
			b, direct, ctx := openOwners(t, config), openOwners(t, test.config), deadline(t, 20*time.Second)
			set, record := "session::owner:", config.KeyPrefix+"abc\r\n"

			writes := map[string]func() (bool, error){
				"insert": func() (bool, error) { return b.Insert(ctx, "abc", owned("two", "a", "", time.Hour)) },
				"swap": func() (bool, error) {
					return b.Swap(ctx, "abc", []byte("one"), owned("two", "a", "b", time.Hour))
				},
			}
			for what, write := range writes {
				prepare := func() {
					require.NoError(t, direct.Delete(ctx, "abc"))
					require.Empty(t, idsOf(t, direct, "a"))
					if what == "swap" {
						yes(t)(direct.Insert(ctx, "abc", owned("one", "b", "", time.Hour)))
					}
				}
				prepare()
				yes(t)(write()) // the server learns the scripts
				prepare()
				asked.Store(0)
				lose.Store(&record)
				ok, err := write()
				require.Nil(t, lose.Load(), "nothing was lost")
				require.False(t, ok, what)
				require.Error(t, err, what)
				require.NotErrorIs(t, err, session.ErrNotApplied, what)
				require.Equal(t, []string{"abc"}, idsOf(t, direct, "a"), "%s: the record has no entry", what)
				if !test.apart {
					require.EqualValues(t, 1, asked.Load(), "%s: made again", what)
					continue
				}
				require.EqualValues(t, 2, asked.Load(), "%s: made again", what) // the entry and the record

				prepare()
				asked.Store(0)
				lose.Store(&set)
				yes(t)(write())
				require.Nil(t, lose.Load(), "nothing was lost")
				want := 3 // the entry twice, and the record
				if what == "swap" {
					want = 4 // and the entry of the former owner
				}
				require.EqualValues(t, want, asked.Load(), what)

				// The record has been written, so what is left of the former owner is no error.
				if what == "swap" {
					former := set + "b"
					prepare()
					lose.Store(&former)
					yes(t)(write())
					require.Nil(t, lose.Load(), "nothing was lost")
				}
			}

			// Nothing can be sent.
			for what, write := range writes {
				p.Stop()
				_, err := write()
				require.ErrorIs(t, err, session.ErrNotApplied, what)
				p.Start(t)
			}
		})
	}
}
