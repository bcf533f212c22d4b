package servers

import (
	"context"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	redisdriver "github.com/go-redis/redis/v8"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/apps"
	"github.com/flamego/session/internal/testing/webapp"
	"github.com/flamego/session/redis"
)

// What docs/migrating.md says does not compile, and what the compiler says then.
func TestDoesNotCompile(t *testing.T) {
	for program, want := range map[string][]string{
		"options": {"cannot use &goredis.Options{…}", `as *"github.com/flamego/session/redis".Options value in struct literal`},
		"client":  {"cannot use goredis.NewClient(&goredis.Options{…})", `does not implement "github.com/go-redis/redis/v8".UniversalClient`},
		"fields":  {"unknown field ConnMaxIdleTime in struct literal", "unknown field Protocol in struct literal"},
		"literal": {"too few values in struct literal of type session.FileConfig"},
		"takeout": {"cannot use config.Client", "need type assertion"},
	} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			out, err := exec.Command("go", "build", "-o", t.TempDir(), "./testdata/"+program).CombinedOutput()
			require.Error(t, err)
			for _, text := range want {
				require.Contains(t, string(out), text)
			}
		})
	}
}

// An app on go-redis 9 goes on with it for its own data. Its sessions have a client of
// their own, made from redis.Options.
func TestGoRedis9Beside(t *testing.T) {
	options := redisOptions(t)
	cache := goredis.NewClient(&goredis.Options{Addr: options.Addr, Password: options.Password, DB: options.DB})
	t.Cleanup(func() { _ = cache.Close() })

	f := apps.New(session.Options{
		Initer: redis.Initer(),
		Config: redis.Config{Options: options, KeyPrefix: "beside:"},
	})
	f.Get("/ttl", func(s session.Session) (string, error) {
		left, err := cache.PTTL(context.Background(), "beside:"+s.ID()).Result()
		return left.Round(time.Hour).String(), err
	})
	apps.Visit(t, f)
	b := webapp.Connect(t, apps.Serve(t, f))
	apps.Get(t, b, "/set", "Succeed")
	apps.Get(t, b, "/ttl", "1h0m0s")
}

// Which fields of the Options an app on go-redis 9 can keep, as docs/migrating.md has
// them.
func TestGoRedis9Fields(t *testing.T) {
	var same, otherType, gone []string
	old, now := reflect.TypeFor[goredis.Options](), reflect.TypeFor[redisdriver.Options]()
	for i := range now.NumField() {
		field := now.Field(i)
		if !field.IsExported() {
			continue
		}
		switch before, ok := old.FieldByName(field.Name); {
		case !ok:
			gone = append(gone, field.Name)
		case before.Type != field.Type:
			otherType = append(otherType, field.Name)
		default:
			same = append(same, field.Name)
		}
	}
	text, err := os.ReadFile("../../../../docs/migrating.md")
	require.NoError(t, err)
	doc := strings.Join(strings.Fields(string(text)), " ")
	for _, names := range [][]string{same, otherType, gone} {
		require.NotEmpty(t, names)
		list := "`" + strings.Join(names, "`, `") + "`"
		require.True(t, strings.Contains(doc, list), "docs/migrating.md has no %s", list)
	}
}
