package mysql_test

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/mysql"
)

var tcp = regexp.MustCompile(`tcp\((.*)\)`)

func TestParameters(t *testing.T) {
	for _, params := range []string{
		"?parseTime=true", "?parseTime=true&loc=Asia%2FTokyo", "?loc=America%2FNew_York", "?clientFoundRows=true",
		"?interpolateParams=true", "?time_zone=%27%2B05%3A00%27&parseTime=true", "?sql_mode=%27%27",
		"?sql_mode=%27ANSI_QUOTES%2CNO_BACKSLASH_ESCAPES%27", "?readTimeout=20s&writeTimeout=20s", "?charset=latin1", "?tx_isolation=%27SERIALIZABLE%27",
	} {
		t.Run(params, func(t *testing.T) {
			t.Parallel()
			env.Core(t, params)
		})
	}
}

// TestAutocommit: a server may be set up to commit nothing by itself.
func TestAutocommit(t *testing.T) {
	t.Parallel()
	tab := env.New(t).Init()
	tab.Config.DSN += "?autocommit=0"
	store := tab.Store()
	s := session.NewBaseSessionWithData("session1", session.GobEncoder, nil, session.Data{"key": 1})
	if err := store.Save(ctx, s); err != nil {
		t.Fatal(err)
	}
	if n := tab.Scalar("SELECT COUNT(*) FROM %T"); n != 1 {
		t.Errorf("%d records are committed", n)
	}
}

// TestDataSize fills columns to the last byte, on a server that would cut off
// what is too long.
func TestDataSize(t *testing.T) {
	t.Parallel()
	for column, size := range map[string]int{
		"none": 65535, "TINYBLOB": 255, "BLOB": 65535, "VARBINARY(1000)": 1000, "MEDIUMBLOB": 1 << 20, "LONGBLOB": 1 << 20,
	} {
		t.Run(column, func(t *testing.T) {
			t.Parallel()
			tab := env.New(t)
			tab.Config.DSN += "?sql_mode=%27%27"
			if column != "none" {
				tab.Exec("CREATE TABLE %T (`key` VARCHAR(255) PRIMARY KEY, `data` " + column + " NOT NULL, `expired_at` DATETIME NOT NULL)")
			}
			_, sc, err := mysql.Dialect.Open(ctx, tab.Config)
			if err != nil {
				t.Fatal(err)
			}
			if sc.MaxDataSize != size {
				t.Fatalf("MaxDataSize is %d, want %d", sc.MaxDataSize, size)
			}

			tab.Config.Encoder = func(data session.Data) ([]byte, error) {
				return bytes.Repeat([]byte{200}, data["size"].(int)), nil
			}
			store := tab.Init().Store()
			save := func(n int) error {
				return store.Save(ctx, session.NewBaseSessionWithData("session1", nil, nil, session.Data{"size": n}))
			}
			if err := save(size); err != nil {
				t.Fatal(err)
			}
			if err := save(size + 1); err == nil || !strings.Contains(err.Error(), "limit") {
				t.Errorf("one byte too many: %v", err)
			}
			if n := tab.Scalar("SELECT LENGTH(%d) FROM %T"); n != int64(size) {
				t.Errorf("%d bytes are stored, want %d", n, size)
			}
		})
	}
}

// TestStatementsAreClosed: a store on a shared pool leaves nothing in it.
func TestStatementsAreClosed(t *testing.T) {
	t.Parallel()
	tab := env.New(t).Init()
	tab.Config.DB = tab.Pool(tab.Config.DSN)
	tab.Config.DB.SetMaxOpenConns(1)
	b, _, err := mysql.Dialect.Open(ctx, tab.Config)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Load(ctx, "session1"); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(ctx, "session1"); err != nil {
		t.Fatal(err)
	}
	if err := b.(io.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	count := func(what string) (n int) {
		if err := tab.Config.DB.QueryRow("SHOW SESSION STATUS LIKE '"+what+"'").Scan(new(string), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if made, closed := count("Com_stmt_prepare"), count("Com_stmt_close"); made < 2 || made != closed {
		t.Errorf("%d statements are prepared, %d closed", made, closed)
	}
}

// TestSweepLocksNobody: only by their keys are dead rows deleted without locks on
// live ones.
func TestSweepLocksNobody(t *testing.T) {
	t.Parallel()
	tab := env.New(t).Init()
	b := tab.Backend()
	tab.Exec("INSERT INTO %T (%k, %d, %e) VALUES ('dead', '', %(-10)), ('live', '', %(60)), ('locked', '', %(-10))")
	tx, err := tab.DB.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	// The session of a visitor that was extended a moment ago, not yet committed.
	if _, err := tx.Exec("UPDATE " + tab.Quoted + " SET data = 'x' WHERE `key` = 'live'"); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("INSERT INTO " + tab.Quoted + " VALUES ('new', '', UTC_TIMESTAMP() + INTERVAL 1 SECOND)"); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if more, err := b.Sweep(short); more || err != nil {
		t.Fatal(more, err)
	}
	if n := tab.Scalar("SELECT COUNT(*) FROM %T"); n != 1 {
		t.Errorf("%d records left, want 1", n)
	}
}

func TestBadDSN(t *testing.T) {
	t.Parallel()
	addr := tcp.FindString(testserver.MySQL(t))
	env.BadDSNs(t, map[string]string{
		"canary-user:canary-pass@" + addr + "/canary-db":                      "Access denied",
		"canary-user:canary-pass@tcp(127.0.0.1:1)/canary-db":                  "connection refused",
		"canary-user:canary-pass@unix(/canary-host)/canary-db":                "no such file",
		"canary-user:canary-pass@tcp(canary-host.invalid:1)/canary-db":        "look up the host",
		"canary-user:canary-pass@canary-host/canary-db":                       "default addr for network",
		"canary-user:canary-pass@canary(canary-host)/canary-db":               "unknown network",
		"canary-user:canary-pass@canary(canary-host:1)/canary-db":             "unknown network",
		"canary-user:canary-pass@tcp(canary-host:1/canary-db":                 "network address not terminated",
		"canary-user:canary-pass@tcp(127.0.0.1:1)":                            "missing the slash",
		"canary-user:canary-pass@tcp(127.0.0.1:1)/canary-db?parseTime=canary": "invalid bool value",
		"canary-user:canary-pass@tcp(127.0.0.1:1)/canary-db?loc=canary":       "unknown time zone",
		"canary-user:canary-pass@tcp(127.0.0.1:1)/canary-db?timeout=canary":   "the DSN is not valid",
		"canary-user:canary-pass@tcp(127.0.0.1:1)/canary-db?tls=canary":       "unknown config name",
		"canary-user:canary-pass@tcp(127.0.0.1:1)/%zzcanary":                  "invalid dbname",
		"canary": "missing the slash",
	}, "canary")

	good := testserver.MySQL(t)
	_, err := session.New(session.Options{
		Initer: mysql.Initer(),
		Config: mysql.Config{DSN: good[:strings.LastIndex(good, "/")+1] + "canary_db"},
	})
	sqltest.NoLeak(t, err, "canary_db", addr, good)
}
