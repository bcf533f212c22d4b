package clients

import (
	"context"

	goredis "github.com/redis/go-redis/v9"

	"github.com/flamego/session/redis/anyclient"
)

// The first of these two is in the doc of package anyclient, too.

type once struct{ *goredis.Cmd }

func (once) NoRetry() bool { return true }

type sender struct{ *goredis.ClusterClient }

func (s sender) Do(ctx context.Context, args ...any) *goredis.Cmd {
	cmd := goredis.NewCmd(ctx, args...)
	_ = s.Process(ctx, once{cmd})
	return cmd
}

func clusterConfig(client *goredis.ClusterClient) anyclient.Config {
	return anyclient.Config{Eval: anyclient.GoRedis(sender{client}), Cluster: true}
}

type oneServerSender struct{ *goredis.Client }

func (s oneServerSender) Do(ctx context.Context, args ...any) *goredis.Cmd {
	cmd := goredis.NewCmd(ctx, args...)
	_ = s.Process(ctx, once{cmd})
	return cmd
}

func oneServerConfig(client *goredis.Client) anyclient.Config {
	return anyclient.Config{Eval: anyclient.GoRedis(oneServerSender{client})}
}
