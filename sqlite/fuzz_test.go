package sqlite_test

import (
	"cmp"
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/sqlite"
)

// readName reads the Table of a Config as its documentation says, by another way than the store: a
// dot stands between the parts, and in backquotes, which are doubled inside, it stands for itself.
func readName(text string) (parts []string) {
	for {
		if part, rest, ok := readQuoted(text); ok {
			parts = append(parts, part)
			if rest == "" {
				return parts
			}
			text = rest[1:]
			continue
		}
		i := strings.IndexByte(text, '.')
		if i < 0 {
			return append(parts, text)
		}
		parts, text = append(parts, text[:i]), text[i+1:]
	}
}

// readQuoted reads a part in backquotes, which ends where the text does or before a dot.
func readQuoted(text string) (part, rest string, ok bool) {
	if !strings.HasPrefix(text, "`") {
		return "", "", false
	}
	for text = text[1:]; ; {
		i := strings.IndexByte(text, '`')
		switch {
		case i < 0:
			return "", "", false
		case i+1 == len(text) || text[i+1] == '.':
			return part + text[:i], text[i+1:], true
		case text[i+1] == '`':
			part, text = part+text[:i+1], text[i+2:]
		default: // a quote in the middle
			part, text = part+text[:i+1], text[i+1:]
		}
	}
}

// FuzzTable opens stores on tables of any name. A store makes no other table than the one of that
// name, and reads and writes no other.
func FuzzTable(f *testing.F) {
	for _, name := range []string{
		"t", "main.t", "temp.t", "`a.b`", "main.`a``b`", "a`b", "`a", "", ".", "a.b.c", "t; DROP TABLE other", "t' --", `t"`, "other", "sqlite_x", "[t]", "\x00", "%s ? $1 {table}", "select",
	} {
		f.Add(name)
	}
	dsn := filepath.Join(f.TempDir(), "fuzz.db")
	db, err := sql.Open("sqlite", dsn)
	require.NoError(f, err)
	f.Cleanup(func() { _ = db.Close() })
	_, err = db.Exec("CREATE TABLE other (key TEXT PRIMARY KEY, data BLOB, expired_at TEXT); INSERT INTO other VALUES ('abc', 'kept', '2999-01-01 00:00:00')")
	require.NoError(f, err)
	tables := func(t testing.TB) (names []string) {
		rows, err := db.Query("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'other'")
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			var name string
			require.NoError(t, rows.Scan(&name))
			names = append(names, name)
		}
		require.NoError(t, rows.Err())
		return names
	}
	f.Fuzz(func(t *testing.T, name string) {
		parts := readName(cmp.Or(name, "sessions"))
		table := parts[len(parts)-1]
		if strings.EqualFold(table, "other") || strings.EqualFold(parts[0], "temp") {
			t.Skip() // a table of temp is there for one connection only
		}
		valid := len(parts) == 1 || len(parts) == 2 && parts[0] == "main"
		valid = valid && table != "" && utf8.ValidString(name) && !strings.Contains(name, "\x00") && !strings.HasPrefix(strings.ToLower(table), "sqlite_")
		b, _, err := sqlite.Dialect.Open(context.Background(), sqlstore.Config{DSN: dsn, Table: name, InitTable: true})
		if valid {
			require.NoError(t, err, "table %q", table)
		}
		if err == nil {
			use(t, b, table)
			made := tables(t)
			require.Equal(t, []string{table}, made)
			_, err = db.Exec("DROP TABLE `" + strings.ReplaceAll(table, "`", "``") + "`")
			require.NoError(t, err)
			require.NoError(t, b.(interface{ Close() error }).Close())
		}
		require.Empty(t, tables(t))
		var data string
		require.NoError(t, db.QueryRow("SELECT data FROM other").Scan(&data))
		require.Equal(t, "kept", data)
	})
}

// use does some of everything.
func use(t *testing.T, b session.Backend, table string) {
	t.Helper()
	ctx, rec := t.Context(), backendtest.Record("x", time.Minute)
	ok, err := b.Insert(ctx, "abc", rec)
	require.NoError(t, err, "table %q", table)
	require.True(t, ok)
	ok, err = b.Rename(ctx, "abc", "def", rec.Data, rec)
	require.NoError(t, err)
	require.True(t, ok)
	_, found, err := b.Load(ctx, "def")
	require.NoError(t, err)
	require.True(t, found)
	require.NoError(t, b.Extend(ctx, "def", time.Hour))
	_, err = b.Sweep(ctx)
	require.NoError(t, err)
	require.NoError(t, b.Delete(ctx, "def"))
}
