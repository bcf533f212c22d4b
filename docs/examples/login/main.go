// Command login is a small app whose users sign up and sign in, see on which devices they are
// signed in, and end those sessions. It needs nothing but a folder to write to:
//
//	go run ./docs/examples/login
//
// The users are in an SQLite database. The sessions are in the same one, or where -store says:
//
//	go run ./docs/examples/login -store redis -dsn redis://127.0.0.1:6379/0
//
// It serves this machine only, at http://localhost:2830. FLAMEGO_ADDR (host:port) is another
// address: with 0.0.0.0:2830, other machines reach it, too. Ctrl-C ends it.
//
// An app on the internet needs more than this one has: it limits how often a password may be
// tried, and can send a new one.
//
// What to read first: app.go has the options of the sessions and the order of the middleware,
// account.go has the sign-in, devices.go has the sessions of a user.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	file := flag.String("db", "login.db", "`file` of the SQLite database with the users")
	store := flag.String("store", "sqlite", "where the sessions are: memory, file, sqlite, postgres, mysql, redis or mongo")
	dsn := flag.String("dsn", "", "the folder, file or server of the -store")
	https := flag.Bool("https", false, "visitors come by HTTPS, and the cookie by nothing else")
	flag.Parse()
	if err := run(*file, *store, *dsn, *https); err != nil {
		log.Fatal(err)
	}
}

// run serves until it is interrupted or terminated. Then it waits for the requests that are
// under way.
func run(file, store, dsn string, https bool) (err error) {
	db, err := openDB(file)
	if err != nil {
		return fmt.Errorf("open the database %s (-db): %w", file, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	people, err := newUsers(db, passwordCost)
	if err != nil {
		return fmt.Errorf("make the table of the users in %s (-db): %w", file, err)
	}
	sessions, err := openSessions(sessionOptions(https), store, dsn, db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sessions.Close()) }() // before the database, which they may use

	f := newApp(people, sessions, store)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	go func() {
		<-ctx.Done()
		cancel() // a second Ctrl-C ends the process at once
		f.Stop()
	}()
	// By default Flamego serves other machines, too.
	addr := cmp.Or(os.Getenv("FLAMEGO_ADDR"), "127.0.0.1:2830")
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return fmt.Errorf("FLAMEGO_ADDR: want host:port: %w", err)
	}
	if err := os.Setenv("FLAMEGO_ADDR", addr); err != nil {
		return err
	}
	log.Printf("Starting at %s. Users are in %s, sessions in %s. Ctrl-C ends the app.", addr, file, stores[store].title)
	f.Run() // returns when the requests have ended
	return nil
}
