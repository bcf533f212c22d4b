package operations

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/mongo"
)

// The tests have no mongosh. So a line is parsed here, as far as the page needs, and the driver sends
// the command. That shows that the filters, fields and types are right. It does not show that mongosh
// takes the line, or what it prints; nor, as the server is FerretDB, what MongoDB locks, or which
// index it uses.
func TestMongo(t *testing.T) {
	t.Parallel()
	uri := testserver.Mongo(t)
	client, err := driver.Connect(t.Context(), options.Client().ApplyURI(uri))
	require.NoError(t, err)
	db := client.Database(fmt.Sprintf("operations%d", time.Now().UnixNano()))
	t.Cleanup(func() {
		assert.NoError(t, db.Drop(context.Background()))
		assert.NoError(t, client.Disconnect(context.Background()))
	})
	s := &subject{
		opts: session.Options{
			Initer: mongo.Initer(),
			Config: mongo.Config{Options: options.Client().ApplyURI(uri), Database: db.Name(), Lifetime: lifetime},
		},
		run: func(t *testing.T, b block) (out string) {
			require.Equal(t, "js", b.lang)
			for line := range strings.Lines(b.code) {
				out += mongosh(t, db.Collection("sessions"), line)
			}
			return out
		},
		blocks: sectionOf(t, "MongoDB"),
		keeps:  true,
		size:   `size [1-9]\d*\nstorageSize [1-9]\d*\ntotalIndexSize [1-9]\d*\n`,
	}
	s.test(t)
}

var (
	inMillis = regexp.MustCompile(`new Date\((?:Date\.now\(\) \+ (\d+))?\)`)
	fieldOf  = regexp.MustCompile(`([{,] *)([a-z_$]+):`)
	call     = regexp.MustCompile(`\.(\w+)\(([^()]*)\)`)
)

// mongosh runs db.sessions.METHOD(...), perhaps with .sort(...) and .limit(...), and returns what it finds.
func mongosh(t *testing.T, sessions *driver.Collection, line string) string {
	t.Helper()
	ctx := t.Context()
	text := inMillis.ReplaceAllStringFunc(strings.TrimSpace(line), func(date string) string {
		ms, _ := strconv.ParseInt(inMillis.FindStringSubmatch(date)[1], 10, 64)
		return fmt.Sprintf(`{"$date":{"$numberLong":"%d"}}`, time.Now().UnixMilli()+ms)
	})
	rest, ok := strings.CutPrefix(fieldOf.ReplaceAllString(text, `$1"$2":`), "db.sessions")
	require.True(t, ok, line)
	calls := call.FindAllStringSubmatch(rest, -1)
	require.Empty(t, call.ReplaceAllString(rest, ""), "more than calls: %s", line)
	args := func(i, least, most int) []bson.D {
		var all struct{ Args []bson.D }
		require.NoError(t, bson.UnmarshalExtJSON([]byte(`{"args":[`+calls[i][2]+`]}`), true, &all), line)
		require.True(t, least <= len(all.Args) && len(all.Args) <= most, line)
		return all.Args
	}
	if method := calls[0][1]; method != "find" {
		require.Len(t, calls, 1, line)
		switch method {
		case "countDocuments":
			n, err := sessions.CountDocuments(ctx, args(0, 1, 1)[0])
			require.NoError(t, err, line)
			return fmt.Sprintln(n)
		case "deleteMany":
			_, err := sessions.DeleteMany(ctx, args(0, 1, 1)[0])
			require.NoError(t, err, line)
		case "updateMany":
			a := args(0, 2, 2)
			_, err := sessions.UpdateMany(ctx, a[0], a[1])
			require.NoError(t, err, line)
		case "stats":
			args(0, 0, 0)
			var stats bson.M
			require.NoError(t, sessions.Database().RunCommand(ctx, bson.D{{Key: "collStats", Value: "sessions"}}).Decode(&stats))
			return fmt.Sprintf("size %v\nstorageSize %v\ntotalIndexSize %v\n", stats["size"], stats["storageSize"], stats["totalIndexSize"])
		default:
			require.Fail(t, "no such method here", line)
		}
		return ""
	}

	opts, found := options.Find(), args(0, 1, 2)
	if len(found) == 2 {
		opts.SetProjection(found[1])
	}
	for i, c := range calls[1:] {
		switch c[1] {
		case "sort":
			opts.SetSort(args(i+1, 1, 1)[0])
		case "limit":
			n, err := strconv.ParseInt(c[2], 10, 64)
			require.NoError(t, err, line)
			opts.SetLimit(n)
		default:
			require.Fail(t, "no such method here", line)
		}
	}
	cursor, err := sessions.Find(ctx, found[0], opts)
	require.NoError(t, err, line)
	var docs []bson.Raw
	require.NoError(t, cursor.All(ctx, &docs))
	out := ""
	for _, doc := range docs {
		out += doc.String() + "\n"
	}
	return out
}
