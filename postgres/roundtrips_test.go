package postgres_test

import (
	"net/url"
	"testing"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/sqlstore/sqltest"
	"github.com/flamego/session/internal/testing/counting"
)

func countingServer(t *testing.T) *counting.Server {
	tab := env.New(t).Init()
	u, err := url.Parse(tab.Config.DSN)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	through := func(tab *sqltest.Table, addr string, change func(*url.URL)) session.Options {
		via := *u
		via.Host = addr
		change(&via)
		config := *tab
		config.Config.DSN = via.String()
		return config.Options(0)
	}
	same := func(*url.URL) {}
	return &counting.Server{
		Addr: u.Host,
		Open: func(_ testing.TB, addr string, encode session.Encoder) session.Options {
			tab := *tab
			tab.Config.Encoder = encode
			return through(&tab, addr, same)
		},
		Bad: map[string]func(testing.TB, string) session.Options{
			"unknown table": func(t testing.TB, addr string) session.Options { return through(env.New(t), addr, same) },
			"password": func(t testing.TB, addr string) session.Options {
				return through(env.New(t), addr, func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "canary") })
			},
			"user": func(t testing.TB, addr string) session.Options {
				return through(env.New(t), addr, func(u *url.URL) { u.User = url.UserPassword("canary", "canary") })
			},
		},
		Hidden: []string{"canary", password, u.String(), "postgres://"},
	}
}

func TestRoundTrips(t *testing.T) { countingServer(t).RoundTrips(t) }

func TestTogether(t *testing.T) { countingServer(t).Together(t) }

func TestSlowLine(t *testing.T) { countingServer(t).SlowLine(t) }

func TestLeaks(t *testing.T) { countingServer(t).Leaks(t) }

func TestSecrets(t *testing.T) { countingServer(t).Secrets(t) }
