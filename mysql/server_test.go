package mysql_test

import (
	"bytes"
	"context"
	"io"
	"net"
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
		"?parseTime=true", "?clientFoundRows=true",
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
	short, cancel := context.WithTimeout(ctx, 20*time.Second)
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
	good := testserver.MySQL(t)
	addr := tcp.FindString(good)
	password := good[:strings.Index(good, "@")]
	noDatabase := good[:strings.LastIndex(good, "/")+1]
	env.BadDSNs(t, map[string]string{
		"canary-user:canary-pass@" + addr + "/canary-db":                        "connect: user or password: access denied (error 1045)",
		noDatabase + "canary_db":                                                "connect: database: there is no such database (error 1049)",
		noDatabase:                                                              `create table "sessions": Table: no database selected (error 1046)`,
		good + "?canary_variable=1":                                             "connect: a parameter after the ?: unknown system variable (error 1193)",
		good + "?time_zone=%27canary%27":                                        "connect: time_zone: unknown time zone (error 1298)",
		good + "?tls=true":                                                      "connect: tls: ",
		"canary-user:canary-pass@tcp(127.0.0.1:1)/canary-db":                    "connect: host or port: connect: connection refused",
		"canary-user:canary-pass@unix(/canary-host)/canary-db":                  "connect: host (the socket): connect: no such file",
		"canary-user:canary-pass@tcp(canary-host.invalid:1)/canary-db":          "connect: host: look up the host: ",
		"canary-user:canary-pass@canary-host/canary-db":                         "the DSN is not valid: address: default addr for network",
		"canary-user:canary-pass@canary(canary-host)/canary-db":                 "connect: host or port: dial: unknown network",
		"canary-user:canary-pass@canary(canary-host:1)/canary-db":               "connect: host or port: dial: unknown network",
		"canary-user:canary-pass@tcp(canary-host:1/canary-db":                   "the DSN is not valid: address: network address not terminated",
		"canary-user:canary-pass@tcp(127.0.0.1:1)":                              "the DSN is not valid: database: missing the slash",
		"canary-user:canary-pass@tcp(127.0.0.1:1)/canary-db?parseTime=canary":   "the DSN is not valid: parseTime: invalid bool value",
		"canary-user:canary-pass@tcp(127.0.0.1:1)/canary-db?loc=canary":         "the DSN is not valid: loc: unknown time zone",
		"canary-user:canary-pass@tcp(127.0.0.1:1)/canary-db?timeout=canary":     "the DSN is not valid: timeout: invalid duration",
		"canary-user:canary-pass@tcp(127.0.0.1:1)/canary-db?readTimeout=canary": "the DSN is not valid: readTimeout: invalid duration",
		"canary-user:canary-pass@tcp(127.0.0.1:1)/canary-db?maxAllowedPacket=a": "the DSN is not valid: maxAllowedPacket: invalid syntax",
		"canary-user:canary-pass@tcp(127.0.0.1:1)/canary-db?tls=canary":         "the DSN is not valid: tls: unknown config name",
		"canary-user:canary-pass@tcp(127.0.0.1:1)/%zzcanary":                    "the DSN is not valid: database: invalid dbname",
		"canary": "the DSN is not valid: database: missing the slash",
	}, "canary", password, addr)
}

// TestInitTableWhereKeysAreShort: neither MyISAM nor an old row format takes a key of 255
// characters of utf8mb4.
func TestInitTableWhereKeysAreShort(t *testing.T) {
	for name, params := range map[string]string{"MyISAM": "?default_storage_engine=MyISAM", "compact": ""} {
		t.Run(name, func(t *testing.T) {
			tab := env.New(t).Init()
			if name == "compact" { // which is a setting of the whole server: no other test runs meanwhile
				var format string
				if err := tab.DB.QueryRow("SELECT @@GLOBAL.innodb_default_row_format").Scan(&format); err != nil {
					t.Fatal(err)
				}
				tab.Exec("SET GLOBAL innodb_default_row_format = compact")
				defer tab.Exec("SET GLOBAL innodb_default_row_format = " + format)
			}
			tab.Config.DSN += params
			b := tab.Backend()
			longest := strings.Repeat("a", 255)
			for _, sid := range []string{"session1", longest} {
				if ok, err := b.Insert(ctx, sid, session.Record{Data: []byte("a"), TTL: time.Minute}); !ok || err != nil {
					t.Fatal(ok, err)
				}
			}
			if _, found, err := b.Load(ctx, longest); !found || err != nil {
				t.Fatal(found, err)
			}
			if n := tab.Scalar("SELECT COUNT(*) FROM information_schema.tables WHERE table_name = ? AND (engine = ? OR row_format = ?)",
				tab.Config.Table, name, name); n != 1 {
				t.Errorf("the table is not one of %s", name)
			}
		})
	}
}

func TestStarting(t *testing.T) {
	env.Starting(t, through, func(net.Conn) {}, func(dsn string) string { return "canary:canary@" + dsn[strings.Index(dsn, "@")+1:] })
}

func FuzzDSN(f *testing.F) {
	env.FuzzDSN(f, mysql.DriverParameters,
		"user:password@tcp(host:3306)/database?parseTime=true&loc=Local", "user@unix(/sock)/", "/", "u:p@/d?tls=x&charset=a,b",
		"u:p@tcp([::1]:3306)/%2f?collation=x&maxAllowedPacket=-1&timeout=1s", "u:p@tcp(h:1/d", "@/?connectionAttributes=a:b", "u:p@host/d?loc=%zz",
		"u:p@tcp(h)/d?serverPubKey=%", "?/", "a/b?c/d=e", "@@(/)", "/?compress=x&interpolateParams=1&collation=gbk_chinese_ci")
}

func TestLockHint(t *testing.T) {
	t.Parallel()
	env.LockHint(t, "?innodb_lock_wait_timeout=1", 2500*time.Millisecond)
}

func TestRefusals(t *testing.T) {
	good := testserver.MySQL(t)
	const raise = "FOR EACH ROW BEGIN DECLARE m TEXT; SET m = CONCAT(NEW.`key`, ' ', LEFT(NEW.`data`, 10), HEX(NEW.`data`)); " +
		"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = m; END"
	env.Secrets(t, map[string][]string{
		"CHECK":     {"ALTER TABLE %T ADD CHECK (LENGTH(%d) < 3)"},
		"trigger":   {"CREATE TRIGGER %T_i BEFORE INSERT ON %T " + raise, "CREATE TRIGGER %T_u BEFORE UPDATE ON %T " + raise},
		"too long":  {"ALTER TABLE %T MODIFY %k VARCHAR(15)", "ALTER TABLE %T MODIFY %d VARBINARY(3)"},
		"text":      {"ALTER TABLE %T MODIFY %d VARCHAR(100) CHARACTER SET utf8mb4"},
		"number":    {"UPDATE %T SET %d = '1'", "ALTER TABLE %T MODIFY %d INT"},
		"no column": {"ALTER TABLE %T DROP COLUMN %d"},
		"other key": {"ALTER TABLE %T ADD COLUMN more VARCHAR(9) NOT NULL"},
	}, good[:strings.Index(good, "@")], tcp.FindStringSubmatch(good)[1])
}

// TestNoPermission: the error at start names the Table.
func TestNoPermission(t *testing.T) {
	t.Parallel()
	tab := env.New(t).Init()
	tab.Backend()
	user := "nobody_" + tab.Config.Table
	tab.Exec("CREATE USER " + user + " IDENTIFIED BY 'canary-pass'")
	t.Cleanup(func() { tab.Exec("DROP USER " + user) })
	visible := "visible_" + tab.Config.Table
	tab.Exec("CREATE TABLE " + visible + " (a INT)")
	t.Cleanup(func() { tab.Exec("DROP TABLE " + visible) })
	tab.Exec("GRANT SELECT ON " + visible + " TO " + user)
	tab.Config.DSN = user + ":canary-pass" + tab.Config.DSN[strings.Index(tab.Config.DSN, "@"):]
	for _, table := range []string{tab.Config.Table, "not_there", "no_database.not_there"} {
		tab.Config.Table = table
		_, _, err := mysql.Dialect.Open(ctx, tab.Config)
		sqltest.NoLeak(t, err, user, "canary-pass", "SELECT", "VARCHAR")
		if !strings.Contains(err.Error(), ": Table: ") {
			t.Error(err)
		}
	}
}
