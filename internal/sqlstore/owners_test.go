package sqlstore_test

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore"
	"github.com/flamego/session/internal/sqlstore/pgdialect"
	"github.com/flamego/session/internal/sqlstore/sqlitedialect"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testing/backendtest"
)

const (
	pgExpiry     = "now() + $%::bigint * interval '1 millisecond'"
	pgLeft       = `floor(extract(epoch FROM "expired_at" - now()) * 1000)::bigint`
	sqliteExpiry = "datetime('now', ((? + 999) / 1000.0) || ' seconds')"
	sqliteLeft   = "CAST((julianday(`expired_at`) - julianday('now')) * 86400000 AS INTEGER)"
)

// dollarQuotes are the other quotes of PostgreSQL, as in $$it's$$ and $tag$it's$tag$.
var dollarQuotes = regexp.MustCompile(`\$[A-Za-z_]*\$`)

// TestStatements: without InitOwners the store says what it has always said, and with it only
// the writes say more. (Those of MySQL are in its package.)
func TestStatements(t *testing.T) {
	pg, sqlite := pgdialect.Dialect(), sqlitedialect.Dialect()
	nth := func(expiry, n string) string { return strings.Replace(expiry, "%", n, 1) }
	for name, test := range map[string]struct {
		dialect                   *sqlstore.Dialect
		always, without, withThem []string
	}{
		"postgres": {
			&pg, []string{
				`SELECT "data", ` + pgLeft + ` FROM "sessions" WHERE "key" = $1 AND "expired_at" > now()`,
				`UPDATE "sessions" SET "expired_at" = ` + nth(pgExpiry, "1") + ` WHERE "key" = $2 AND "expired_at" > now() AND "expired_at" < ` + nth(pgExpiry, "3"),
				`DELETE FROM "sessions" WHERE "key" = $1`,
			}, []string{
				`INSERT INTO "sessions" AS t ("key", "data", "expired_at") VALUES ($1, $2, ` + nth(pgExpiry, "3") + ")\n" +
					`ON CONFLICT ("key") DO UPDATE SET "data" = excluded."data", "expired_at" = excluded."expired_at"` + "\n" +
					`WHERE t."expired_at" <= now()`,
				`UPDATE "sessions" SET "data" = $1, "expired_at" = ` + nth(pgExpiry, "2") + ` WHERE "key" = $3 AND "data" = $4 AND "expired_at" > now()`,
				`UPDATE "sessions" SET "key" = $1, "data" = $2, "expired_at" = ` + nth(pgExpiry, "3") + ` WHERE "key" = $4 AND "data" = $5 AND "expired_at" > now()`,
			}, []string{
				`INSERT INTO "sessions" AS t ("key", "data", "expired_at", "owner") VALUES ($1, $2, ` + nth(pgExpiry, "3") + ", $4)\n" +
					`ON CONFLICT ("key") DO UPDATE SET "data" = excluded."data", "expired_at" = excluded."expired_at", "owner" = excluded."owner"` + "\n" +
					`WHERE t."expired_at" <= now()`,
				`UPDATE "sessions" SET "data" = $1, "expired_at" = ` + nth(pgExpiry, "2") + `, "owner" = $3 WHERE "key" = $4 AND "data" = $5 AND "expired_at" > now()`,
				`UPDATE "sessions" SET "key" = $1, "data" = $2, "expired_at" = ` + nth(pgExpiry, "3") + `, "owner" = $4 WHERE "key" = $5 AND "data" = $6 AND "expired_at" > now()`,
			},
		},
		"sqlite": {
			&sqlite, []string{
				"SELECT `data`, " + sqliteLeft + " FROM `sessions` WHERE `key` = ? AND `expired_at` > datetime('now')",
				"UPDATE `sessions` SET `expired_at` = " + sqliteExpiry + " WHERE `key` = ? AND `expired_at` > datetime('now') AND `expired_at` < " + sqliteExpiry,
				"DELETE FROM `sessions` WHERE `key` = ?",
			}, []string{
				"INSERT INTO `sessions` AS t (`key`, `data`, `expired_at`) VALUES (?, ?, " + sqliteExpiry + ")\n" +
					"ON CONFLICT (`key`) DO UPDATE SET `data` = excluded.`data`, `expired_at` = excluded.`expired_at`\n" +
					"WHERE t.`expired_at` <= datetime('now')",
				"UPDATE `sessions` SET `data` = ?, `expired_at` = " + sqliteExpiry + " WHERE `key` = ? AND `data` = ? AND `expired_at` > datetime('now')",
				"UPDATE `sessions` SET `key` = ?, `data` = ?, `expired_at` = " + sqliteExpiry + " WHERE `key` = ? AND `data` = ? AND `expired_at` > datetime('now')",
			}, []string{
				"INSERT INTO `sessions` AS t (`key`, `data`, `expired_at`, `owner`) VALUES (?, ?, " + sqliteExpiry + ", ?)\n" +
					"ON CONFLICT (`key`) DO UPDATE SET `data` = excluded.`data`, `expired_at` = excluded.`expired_at`, `owner` = excluded.`owner`\n" +
					"WHERE t.`expired_at` <= datetime('now')",
				"UPDATE `sessions` SET `data` = ?, `expired_at` = " + sqliteExpiry + ", `owner` = ? WHERE `key` = ? AND `data` = ? AND `expired_at` > datetime('now')",
				"UPDATE `sessions` SET `key` = ?, `data` = ?, `expired_at` = " + sqliteExpiry + ", `owner` = ? WHERE `key` = ? AND `data` = ? AND `expired_at` > datetime('now')",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			operations := func(b session.Backend) {
				for _, op := range backendtest.Operations(b) {
					_ = op(context.Background())
				}
			}
			want := func(h *sqltest.Heard, texts []string) {
				t.Helper()
				slices.Sort(texts)
				got := h.Of(operations)
				if i := slices.IndexFunc(got, dollarQuotes.MatchString); i >= 0 {
					t.Errorf("pgx 4 writes arguments into dollar quotes as if they were none: %s", got[i])
				}
				if !slices.Equal(got, texts) {
					t.Errorf("the store says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(texts, "\n"))
				}
			}
			want(sqltest.HearPlain(t, test.dialect, "sessions"), slices.Concat(test.always, test.without))
			want(sqltest.Hear(t, test.dialect, "sessions"), slices.Concat(test.always, test.withThem))
		})
	}
}
