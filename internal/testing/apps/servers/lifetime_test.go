package servers

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/apps"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/internal/testing/webapp"
	"github.com/flamego/session/mongo"
	"github.com/flamego/session/mysql"
	"github.com/flamego/session/postgres"
	"github.com/flamego/session/redis"
	"github.com/flamego/session/sqlite"
)

// What becomes of the sessions that are stored when an app is deployed with another
// Lifetime. A record keeps the expiry that it was written with; a file has the time of
// its last access.
func TestChangedLifetime(t *testing.T) {
	const short, long = 3 * time.Second, time.Hour
	dir := t.TempDir()
	stores := map[string]func(lifetime time.Duration) session.Options{
		"file": func(lifetime time.Duration) session.Options {
			return session.Options{
				Initer: session.FileIniter(),
				Config: session.FileConfig{Lifetime: lifetime, RootDir: dir},
			}
		},
		"sqlite": func(lifetime time.Duration) session.Options {
			return session.Options{
				Initer: sqlite.Initer(),
				Config: sqlite.Config{Lifetime: lifetime, DSN: filepath.Join(dir, "app.db"), InitTable: true},
			}
		},
		"postgres": func(lifetime time.Duration) session.Options {
			return session.Options{
				Initer: postgres.Initer(),
				Config: postgres.Config{Lifetime: lifetime, DSN: testserver.Postgres(t), InitTable: true},
			}
		},
		"mysql": func(lifetime time.Duration) session.Options {
			return session.Options{
				Initer: mysql.Initer(),
				Config: mysql.Config{Lifetime: lifetime, DSN: testserver.MySQL(t), InitTable: true},
			}
		},
		"redis": func(lifetime time.Duration) session.Options {
			return session.Options{
				Initer: redis.Initer(),
				Config: redis.Config{Lifetime: lifetime, Options: redisOptions(t), KeyPrefix: "lifetime:"},
			}
		},
		"mongo": func(lifetime time.Duration) session.Options {
			return session.Options{
				Initer: mongo.Initer(),
				Config: mongo.Config{
					Lifetime: lifetime, Options: options.Client().ApplyURI(testserver.Mongo(t)), Database: "lifetime",
				},
			}
		},
	}

	// visitors have a session of the app before, and go on to the app after.
	type visitors struct{ idle, reads, saves *webapp.Browser }
	visit := func(before, after string) (all visitors) {
		for _, b := range []**webapp.Browser{&all.idle, &all.reads, &all.saves} {
			first := webapp.Connect(t, before)
			apps.Get(t, first, "/set", "Succeed")
			*b = webapp.Connect(t, after)
			(*b).Cookie = first.Cookie
		}
		apps.Get(t, all.reads, "/get", "Authenticated as 123")
		apps.Get(t, all.saves, "/set", "Succeed")
		return all
	}
	live := func(all visitors) string {
		is := func(b *webapp.Browser) bool { return b.Get("/get").Body.String() == "Authenticated as 123" }
		return fmt.Sprintf("idle %t, reads %t, saves %t", is(all.idle), is(all.reads), is(all.saves))
	}

	raised, lowered := make(map[string]visitors), make(map[string]visitors)
	for store, opts := range stores {
		shorter, longer := apps.Serve(t, apps.New(opts(short))), apps.Serve(t, apps.New(opts(long)))
		raised[store], lowered[store] = visit(shorter, longer), visit(longer, shorter)
	}
	time.Sleep(short + 1100*time.Millisecond) // a column of whole seconds is rounded up
	for store := range stores {
		if store == "file" {
			require.Equal(t, "idle true, reads true, saves true", live(raised[store]), store)
			require.Equal(t, "idle false, reads false, saves false", live(lowered[store]), store)
			continue
		}
		require.Equal(t, "idle false, reads true, saves true", live(raised[store]), store)
		require.Equal(t, "idle true, reads true, saves false", live(lowered[store]), store)
	}
}
