package mysql_test

import (
	"slices"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/mysql"
)

func TestOwnerRoundTrips(t *testing.T) { env.OwnerRoundTrips(t, through) }

func TestOwnedLost(t *testing.T) { env.OwnedLost(t, through) }

func TestOwnersWithoutRight(t *testing.T) {
	t.Parallel()
	tab := env.New(t).Init()
	name := "weak" + tab.Config.Table
	dsn := user(t, tab.DB, tab.Config.DSN, name, "") // who may not alter tables
	execAll(t, tab.DB, "REVOKE INDEX ON *.* FROM '"+name+"'@'%'")
	tab.OwnersWithoutRight(dsn, "permission denied (error 1142)", name, "secret@", "tcp(")
}

// TestOwnersCharsets has tables and connections of other character sets. What one connection
// writes, all others find.
func TestOwnersCharsets(t *testing.T) {
	for _, charset := range []string{"utf8mb4", "utf8mb3", "latin1", "ascii", "gbk", "binary"} {
		t.Run(charset, func(t *testing.T) {
			t.Parallel()
			tab := env.New(t).Init()
			tab.Exec("CREATE TABLE %T (`key` VARCHAR(255) PRIMARY KEY, `data` BLOB NOT NULL, `expired_at` DATETIME NOT NULL) CHARSET=" + charset)
			var backends []session.Backend
			for _, params := range []string{
				"", "?charset=latin1", "?charset=utf8mb3", "?charset=gbk", "?charset=ascii", "?charset=binary", "?interpolateParams=true",
				"?charset=latin1&interpolateParams=true", "?collation=utf8mb4_unicode_ci", "?character_set_connection=latin1",
			} {
				through := *tab
				through.Config.DSN += params
				b := through.Backend()
				if err := b.(session.OwnerIniter).InitOwners(ctx); err != nil {
					t.Fatal(params, err)
				}
				backends = append(backends, b)
			}
			for i, owner := range []string{"a", "A", "ä", "日本", "🙂", "\\'\"", "\xc2\xa5\\"} {
				sid := string(rune('a'+i)) + "bc"
				writer := backends[i%len(backends)]
				rec := backendtest.Record("data", time.Hour)
				rec.Owner = owner
				if ok, err := writer.Insert(ctx, sid, rec); !ok || err != nil {
					t.Fatal(ok, err)
				}
				for n, b := range backends {
					owned, err := b.(session.OwnerIndex).Owned(ctx, owner)
					if err != nil || len(owned) != 1 || owned[0].ID != sid {
						t.Errorf("%q through %d: %v, %v", owner, n, owned, err)
					}
					if ok, err := b.Swap(ctx, sid, rec.Data, rec); !ok || err != nil {
						t.Errorf("%q through %d: %v, %v", owner, n, ok, err)
					}
				}
			}
		})
	}
}

// TestOwnersOtherCharset: a column that cannot hold every owner is not used.
func TestOwnersOtherCharset(t *testing.T) {
	t.Parallel()
	for _, column := range []string{"VARCHAR(190) CHARACTER SET latin1", "VARCHAR(190) CHARACTER SET utf8mb3 COLLATE utf8mb3_bin", "VARCHAR(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", "VARCHAR(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin GENERATED ALWAYS AS ('a')"} {
		tab := env.New(t).Init()
		b := tab.Backend()
		tab.Exec("ALTER TABLE %T ADD COLUMN owner " + column)
		if err := b.(session.OwnerIniter).InitOwners(ctx); err == nil {
			t.Errorf("%s is used", column)
		}
	}
}

// TestOwnersStatements: what the store says with owners.
func TestOwnersStatements(t *testing.T) {
	t.Parallel()
	heard := sqltest.Hear(t, mysql.InZone(time.UTC), "sessions").Of(func(b session.Backend) {
		for _, op := range backendtest.Operations(b) {
			_ = op(ctx)
		}
		_, _ = b.(session.OwnerIndex).Owned(ctx, "a")
	})
	const (
		expiry = "UTC_TIMESTAMP() + INTERVAL (MICROSECOND(UTC_TIMESTAMP(6)) + ? * 1000 + 999999) DIV 1000000 SECOND"
		owner  = "CONVERT(UNHEX(?) USING utf8mb4) COLLATE utf8mb4_bin"
	)
	for _, want := range []string{
		"INSERT INTO `sessions` (`key`, `data`, `expired_at`, `owner`) VALUES (?, ?, " + expiry + ", " + owner + ")",
		"UPDATE `sessions` SET `data` = ?, `expired_at` = " + expiry + ", `owner` = " + owner + " WHERE `key` = ? AND `data` = ? AND `expired_at` > UTC_TIMESTAMP(6)",
		"SELECT `key`, `data`, TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), `expired_at`) DIV 1000 FROM `sessions` WHERE `owner` = " + owner + " AND `expired_at` > UTC_TIMESTAMP(6)",
		"UPDATE `sessions` SET `expired_at` = " + expiry + " WHERE `key` = ? AND `expired_at` > UTC_TIMESTAMP(6) AND `expired_at` < " + expiry,
	} {
		if !slices.Contains(heard, want) {
			t.Errorf("the store does not say %s\n%q", want, heard)
		}
	}
}

// BenchmarkOwners is that of package postgres, which has its command. The server of the
// tests has a buffer pool that is too small for a million rows.
func BenchmarkOwners(b *testing.B) {
	own := *env
	dsn := testserver.OwnMySQL(b, "--innodb-buffer-pool-size=2G", "--innodb-log-file-size=256M")
	own.DSN = func(testing.TB) string { return dsn }
	own.BenchOwners(b, "CAST(%s AS CHAR)")
}
