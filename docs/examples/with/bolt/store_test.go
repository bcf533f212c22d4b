package main

import (
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/flamego/session"
	"github.com/flamego/session/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t testing.TB, lifetime time.Duration) session.Options {
		db, err := bolt.Open(filepath.Join(t.TempDir(), "test.db"), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		return session.Options{
			Initer: Initer(),
			Config: Config{DB: db, Lifetime: lifetime},
		}
	})
}

// A store that is meant to have owners says so here, as storetest skips their rules otherwise.
func TestOwners(t *testing.T) {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "test.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	sessions, err := session.New(session.Options{Initer: Initer(), Config: Config{DB: db}, OwnerKey: "user_id"})
	if err != nil {
		t.Fatal(err)
	}
	if err := sessions.Close(); err != nil {
		t.Error(err)
	}
}
