package redis

import (
	"context"
	"strings"

	"github.com/go-redis/redis/v8"

	"github.com/flamego/session/redis/internal/errtext"
)

// cluster is a client of a Cluster that sends each script to the server of its slot by itself. A
// ClusterClient of go-redis 8 would
//   - ask a server of Redis 7 for the list of all commands before each command, as it does not
//     understand the answer,
//   - make a write again whose answer was lost, or else, with MaxRedirects -1, follow no slot that
//     moves to another server,
//   - with MaxRedirects -1, use a server that is down until the slots are asked for again, which
//     is every 10 seconds.
type cluster struct{ *redis.ClusterClient }

// maxRedirects is how often a script is sent on to another server. A slot that moves takes one,
// and one more if the client does not know yet where the last move has led.
const maxRedirects = 3

func (c cluster) Eval(ctx context.Context, text string, keys []string, args ...interface{}) *redis.Cmd {
	return c.send(ctx, keys[0], func(to redis.Scripter) *redis.Cmd { return to.Eval(ctx, text, keys, args...) })
}

func (c cluster) EvalSha(ctx context.Context, hash string, keys []string, args ...interface{}) *redis.Cmd {
	return c.send(ctx, keys[0], func(to redis.Scripter) *redis.Cmd { return to.EvalSha(ctx, hash, keys, args...) })
}

// send sends a script to the master that has the slot of the key.
func (c cluster) send(ctx context.Context, key string, script func(redis.Scripter) *redis.Cmd) *redis.Cmd {
	node, err := c.MasterForKey(ctx, key)
	if err != nil { // the slots could not be asked for, so there is nothing to reload
		cmd := redis.NewCmd(ctx)
		cmd.SetErr(err)
		return cmd
	}
	cmd := script(node)
	for range maxRedirects {
		code, addr := redirect(cmd.Err())
		if addr == "" {
			break
		}
		if node = c.master(ctx, addr); node == nil {
			// The slot moves to a server that has none yet, and so is no master in the list of the
			// Cluster. It is one when the move is done, so the caller tries again.
			break
		}
		if code == "MOVED" {
			cmd = script(node)
			continue
		}
		pipe := node.Pipeline()
		pipe.Do(ctx, "asking") // the server has a part of the slot, which is not its own yet
		cmd = script(pipe)
		_, _ = pipe.Exec(ctx) // the script has the error
	}
	if mayHaveMoved(cmd.Err()) {
		c.ReloadState(ctx)
	}
	return cmd
}

// mayHaveMoved reports whether an error may be that of a server that has the slot no more: one that
// does not answer, or that says that it cannot serve at the moment.
func mayHaveMoved(err error) bool {
	reply, isReply := errtext.Reply(err)
	return err != nil && (!isReply || errtext.IsPassing(reply))
}

// master returns the client of the master at an address, or nil. ForEachMaster asks the Cluster for its
// slots first, so the scripts that follow go to the right server at once.
func (c cluster) master(ctx context.Context, addr string) (node *redis.Client) {
	_ = c.ForEachMaster(ctx, func(_ context.Context, m *redis.Client) error {
		if m.Options().Addr == addr { // one of them at most
			node = m
		}
		return nil
	})
	return node
}

// redirect returns the code and the address of a reply that names another server.
func redirect(err error) (code, addr string) {
	reply, _ := errtext.Reply(err)
	words := strings.Fields(reply)
	if len(words) != 3 || words[0] != "MOVED" && words[0] != "ASK" {
		return "", ""
	}
	return words[0], words[2]
}
