package redis_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis"
)

// The word in all that may be a secret.
const (
	canary    = "canary"
	canarySID = "0canary0canary0c"
)

// requireNoCanary fails if an error shows the canary, however it is printed.
func requireNoCanary(t testing.TB, err error) {
	t.Helper()
	require.Error(t, err)
	asJSON, _ := json.Marshal(map[string]interface{}{"err": err})
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Error("failed", "err", err, "errs", []error{err})
	for _, text := range []string{
		err.Error(), fmt.Sprintf("%v", err), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err), fmt.Sprintf("%q", err),
		string(asJSON), log.String(),
	} {
		require.NotContains(t, strings.ToLower(text), canary)
	}
}

// parrot is a server that repeats all that it is told, once it is evil.
type parrot struct {
	addr string
	evil atomic.Pointer[string] // a format for what was said
	good []byte                 // the session under any key
}

func newParrot(t testing.TB) *parrot {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	good, err := session.GobEncoder(session.Data{"k": canary})
	require.NoError(t, err)
	p := &parrot{addr: l.Addr().String(), good: good}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c) })
		}
	})
	return p
}

func (p *parrot) serve(c net.Conn) {
	defer c.Close()
	for r := bufio.NewReader(c); ; {
		said, err := readCommand(r)
		if err != nil {
			return
		}
		if evil := p.evil.Load(); evil != nil {
			words := strings.NewReplacer("\r", " ", "\n", " ").Replace(strings.Join(said, " "))
			fmt.Fprintf(c, *evil+"\r\n", words)
			continue
		}
		switch strings.ToUpper(said[0]) {
		case "EVAL", "EVALSHA":
			fmt.Fprint(c, "+OK\r\n")
		case "GET":
			fmt.Fprintf(c, "$%d\r\n%s\r\n", len(p.good), p.good)
		case "PTTL":
			fmt.Fprint(c, ":3600000\r\n")
		default:
			fmt.Fprint(c, "+OK\r\n")
		}
	}
}

func readCommand(r *bufio.Reader) (said []string, err error) {
	number := func() (n int) {
		line, e := r.ReadString('\n')
		if err = e; err == nil {
			n, err = strconv.Atoi(strings.TrimSpace(line[1:]))
		}
		return n
	}
	for range number() {
		word := make([]byte, number()+2)
		if err == nil {
			_, err = io.ReadFull(r, word)
		}
		if err != nil {
			return nil, err
		}
		said = append(said, string(word[:len(word)-2]))
	}
	return said, err
}

func TestErrorsQuoteNothing(t *testing.T) {
	t.Parallel()
	for name, format := range map[string]string{
		"unknown command": "-ERR unknown command `EVALSHA`, with args beginning with: %s",
		"no permission":   "-NOPERM User %[1]s has no permissions to access the '%[1]s' key",
		"failed script":   "-ERR Error running script (call to f_0123456789012345678901234567890123456789): @user_script:7: @user_script: 7: %[1]s",
		"script of 7":     "-ERR user_script:7: %[1]s script: 0123, on @user_script:7.",
		"wrong type":      "-WRONGTYPE %s",
		"moved":           "-MOVED 1 %s",
		"loading":         "-LOADING %s",
		"bare":            "-%s",
		"code":            "-CANARY %s",
		"number":          ":%s",
		"length":          "$%s",
		"array":           "*%s",
		"status":          "+%s",
		"garbage":         "%s",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParrot(t)
			for _, shared := range []bool{false, true} {
				options := redis.Options{
					Addr: p.addr, Username: canary, Password: canary, DB: 1, MaxConnAge: 1, MaxRetries: 1, PoolSize: 2,
				}
				config := redis.Config{Options: &options, KeyPrefix: canary + ":"}
				if shared {
					config.Client = bare(t, &options)
				}
				p.evil.Store(nil)
				store := openStore(t, config)
				read := func() session.Session {
					s, err := store.Read(t.Context(), canarySID)
					require.NoError(t, err)
					return s
				}
				swap, rename, end := read(), read(), read()
				swap.Set("k", canary)
				rename.Set("k", canary)
				require.NoError(t, rename.RegenerateID(nil, nil))
				require.NoError(t, session.Destroy(nil, nil, end))
				p.evil.Store(&format)
				_, err := store.Read(t.Context(), canarySID)
				for op, err := range map[string]error{
					"load":    err,
					"insert":  store.Save(t.Context(), session.NewBaseSessionWithData(canarySID, nil, nil, session.Data{"k": canary})),
					"swap":    store.Save(t.Context(), swap),
					"rename":  store.Save(t.Context(), rename),
					"extend":  store.Touch(t.Context(), canarySID),
					"destroy": store.Destroy(t.Context(), canarySID),
				} {
					if err == nil && name == "status" { // "+..." is data for a load, and may be an answer to DEL
						continue
					}
					if assert.Error(t, err, op) {
						requireNoCanary(t, err)
					}
				}
				_, err = redis.Initer()(deadline(t, time.Second), config, session.IDWriter(noID))
				requireNoCanary(t, err)
			}
		})
	}
}

// Nor does any part of the options come back in an error, whatever is wrong with it.
func TestErrorsOfOptions(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	for name, options := range map[string]redis.Options{
		"host":               {Addr: canary + ".invalid:6379"},
		"URL":                {Addr: "redis://app:" + canary + "@127.0.0.1:6379"},
		"no port":            {Addr: canary},
		"port":               {Addr: "127.0.0.1:" + canary},
		"refused":            {Addr: "127.0.0.1:1", Username: canary, Password: canary},
		"network":            {Network: canary, Addr: server},
		"socket":             {Network: "unix", Addr: "/" + canary},
		"no user":            {Addr: server, Username: canary, Password: canary},
		"no password needed": {Addr: server, Password: canary},
		"dialer": {Addr: server, Dialer: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New(canary)
		}},
		"greeting": {Addr: server, OnConnect: func(context.Context, *goredis.Conn) error { return errors.New(canary) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, config := range []redis.Config{{Options: &options}, {Client: bare(t, &options)}} {
				_, err := redis.Initer()(t.Context(), config, session.IDWriter(noID))
				requireNoCanary(t, err)
				t.Log(err)
			}
		})
	}
}

// What real servers quote.
func TestErrorsOfServers(t *testing.T) {
	t.Parallel()
	s := testserver.StartRedis(t)
	config := redis.Config{
		Options:   &redis.Options{Addr: s.Addr, Username: canary, Password: canary},
		KeyPrefix: canary + ":",
	}
	all := []string{"ACL", "SETUSER", canary, "reset", "on", ">" + canary, "~*", "+@all"}
	s.MustDo(t, all...)
	store := openStore(t, config)
	save := func() error {
		sess, err := store.Read(t.Context(), canarySID)
		if err != nil {
			return err
		}
		sess.Set("k", canary)
		return store.Save(t.Context(), sess)
	}
	require.NoError(t, save())
	for name, test := range map[string]struct{ commands, undo []string }{
		"no EVALSHA": {append(all, "-evalsha"), all},
		"no SET":     {append(all, "-set"), all},
		"no key":     {append(all, "resetkeys", "~other"), all},
		"no memory":  {[]string{"CONFIG", "SET", "maxmemory", "1"}, []string{"CONFIG", "SET", "maxmemory", "0"}},
		"read only":  {[]string{"REPLICAOF", "127.0.0.1", "1"}, []string{"REPLICAOF", "NO", "ONE"}},
	} {
		s.MustDo(t, test.commands...)
		err := save()
		requireNoCanary(t, err)
		t.Log(name, err)
		s.MustDo(t, test.undo...)
	}
	s.MustDo(t, "DEL", canary+":"+canarySID)
	s.MustDo(t, "LPUSH", canary+":"+canarySID, canary)
	err := save()
	requireNoCanary(t, err)
	require.ErrorContains(t, err, "WRONGTYPE")
}

// Nothing of a session is in any key or value, of whatever type.
func TestKeysAtRest(t *testing.T) {
	t.Parallel()
	backendtest.AtRest(t, func(t testing.TB) (session.Options, func() []byte) {
		config := testConfig(t)
		c := bare(t, config.Options)
		return session.Options{Initer: redis.Initer(), Config: config}, func() (all []byte) {
			ctx := t.Context()
			keys, err := c.Keys(ctx, "*").Result()
			require.NoError(t, err)
			types := make(map[string]int)
			for _, key := range keys {
				if !strings.Contains(key, config.KeyPrefix) {
					continue // of another test
				}
				kind, err := c.Type(ctx, key).Result()
				require.NoError(t, err)
				types[kind]++
				var command *goredis.Cmd
				switch kind {
				case "string":
					command = c.Do(ctx, "GET", key)
				case "set":
					command = c.Do(ctx, "SMEMBERS", key)
				case "zset":
					command = c.Do(ctx, "ZRANGE", key, 0, -1, "WITHSCORES")
				case "hash":
					command = c.Do(ctx, "HGETALL", key)
				case "none":
					continue // it has expired
				default:
					t.Fatalf("a key is a %s", kind)
				}
				value, err := command.Result()
				require.NoError(t, err)
				dump, err := c.Dump(ctx, key).Result()
				require.NoError(t, err)
				all = append(all, fmt.Sprint(key, "\n", value, "\n", dump, "\n")...)
			}
			require.Greater(t, len(types), 1, "there are records, and an index")
			return all
		}
	})
}
