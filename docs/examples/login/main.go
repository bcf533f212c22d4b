// Command login is a small app whose users sign up and sign in, see on which devices they are
// signed in, and end those sessions. It needs nothing but a folder to write to:
//
//	go run ./docs/examples/login
//
// The users are in an SQLite database. The sessions are in the same one, or where -store says:
//
//	go run ./docs/examples/login -store redis -dsn redis://127.0.0.1:6379/0
//
// FLAMEGO_ADDR (host:port) is where it serves, by default port 2830. Ctrl-C ends it.
//
// An app on the internet needs more than this one has: it limits how often a password may be
// tried, and can send a new one.
//
// What to read first: app.go has the options of the sessions and the order of the middleware,
// account.go has the sign-in, devices.go has the sessions of a user.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	file := flag.String("db", "login.db", "`file` of the SQLite database with the users")
	store := flag.String("store", "sqlite", "where the sessions are: memory, file, sqlite, postgres, mysql, redis or mongo")
	dsn := flag.String("dsn", "", "the folder, file or server of the -store")
	https := flag.Bool("https", false, "visitors come by HTTPS: the cookie gets the attribute Secure")
	flag.Parse()
	if err := run(*file, *store, *dsn, *https); err != nil {
		log.Fatal(err)
	}
}

// run serves until it is interrupted or terminated. Then it waits for the requests that are
// under way.
func run(file, store, dsn string, https bool) error {
	db, err := openDB(file)
	if err != nil {
		return fmt.Errorf("open the database %s (-db): %w", file, err)
	}
	sessions, err := openSessions(sessionOptions(https), store, dsn, db)
	if err != nil {
		return err
	}
	people, err := newUsers(db, passwordCost)
	if err != nil {
		return fmt.Errorf("make the table of the users in %s (-db): %w", file, err)
	}

	log.Printf("Users are in %s, sessions in %s. Ctrl-C ends the app.", file, stores[store].title)
	f := newApp(people, sessions, store)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	go func() {
		<-ctx.Done()
		f.Stop()
	}()
	f.Run() // says at which address, and returns when the requests have ended

	if err := sessions.Close(); err != nil {
		return err
	}
	return db.Close() // the sessions may have used it until now
}
