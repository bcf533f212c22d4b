package mysql_test

import (
	"strings"
	"testing"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testing/counting"
)

func countingServer(t *testing.T) *counting.Server {
	tab := env.New(t).Init()
	dsn := tab.Config.DSN
	login, _, _ := strings.Cut(dsn, "@tcp(")
	_, password, _ := strings.Cut(login, ":")
	through := func(tab *sqltest.Table, addr, login string) session.Options {
		config := *tab
		_, rest, _ := strings.Cut(tcp.ReplaceAllString(dsn, "tcp("+addr+")"), "@tcp(")
		config.Config.DSN = login + "@tcp(" + rest
		return config.Options(0)
	}
	return &counting.Server{
		Addr: tcp.FindStringSubmatch(dsn)[1],
		Open: func(_ testing.TB, addr string, encode session.Encoder) session.Options {
			tab := *tab
			tab.Config.Encoder = encode
			return through(&tab, addr, login)
		},
		Bad: map[string]func(testing.TB, string) session.Options{
			"unknown table": func(t testing.TB, addr string) session.Options { return through(env.New(t), addr, login) },
			"password":      func(t testing.TB, addr string) session.Options { return through(env.New(t), addr, "canary:canary") },
		},
		Hidden: []string{"canary", password, dsn, "tcp("},
	}
}

func TestRoundTrips(t *testing.T) { countingServer(t).RoundTrips(t) }

func TestTogether(t *testing.T) { countingServer(t).Together(t) }

func TestSlowLine(t *testing.T) { countingServer(t).SlowLine(t) }

func TestLeaks(t *testing.T) { countingServer(t).Leaks(t) }

func TestSecrets(t *testing.T) { countingServer(t).Secrets(t) }
