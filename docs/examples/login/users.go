package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// user is a row of the table users.
type user struct {
	ID   int64
	Name string
	// Credentials is the version of the password. Sessions keep the version that they were signed
	// in with, and are signed out when it is an old one. It is a random number: one that counts
	// would begin anew where the database is, and the sessions are not.
	Credentials int64

	hash []byte
}

const (
	passwordCost = bcrypt.DefaultCost
	minPassword  = 8  // characters
	maxPassword  = 72 // bytes: bcrypt reads no more of a password
)

// Names are of ASCII: NOCASE knows the cases of no other letters, and other letters may be written
// in several ways that look the same.
var nameRule = regexp.MustCompile(`^[A-Za-z0-9._-]{1,40}$`)

// inputError is an error that the visitor is told, as it is about what the visitor has sent.
type inputError struct {
	status int
	field  string // of the form
	text   string
}

func (e inputError) Error() string { return e.text }

var (
	errName    = inputError{http.StatusUnprocessableEntity, "name", "A name has 1 to 40 characters: letters from A to Z, digits, and . _ -"}
	errShort   = inputError{http.StatusUnprocessableEntity, "password", fmt.Sprintf("The password is too short: it needs at least %d characters.", minPassword)}
	errLong    = inputError{http.StatusUnprocessableEntity, "password", fmt.Sprintf("The password is too long: at most %d bytes count. That is as many characters, or fewer with accents, other scripts or emoji.", maxPassword)}
	errTaken   = inputError{http.StatusConflict, "name", "This name is taken. Please choose another one."}
	errWrong   = inputError{http.StatusUnauthorized, "password", "The name or the password is wrong."}
	errCurrent = inputError{http.StatusUnauthorized, "current", "This is not your current password."}
	errChanged = inputError{http.StatusConflict, "current", "The password was just changed on another device."}
)

// openDB opens the database file, which only this user of the machine may read: it has the
// passwords, hashed, and by default the sessions.
func openDB(file string) (*sql.DB, error) {
	if file == "" || file == ":memory:" || strings.HasPrefix(file, "file:") || strings.Contains(file, "?") {
		return nil, errors.New("want the name of a file, without a question mark")
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	// The sessions share this pool, so it has what they need: it waits for a writer, and its
	// readers do not wait at all.
	return sql.Open("sqlite", file+"?_pragma=busy_timeout(2000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
}

// users is the table of the users.
type users struct {
	db    *sql.DB
	cost  int    // of a hash
	dummy []byte // a hash that no password of a user has

	compare func(hash, password []byte) error // bcrypt.CompareHashAndPassword, but in a test
}

func newUsers(db *sql.DB, cost int) (*users, error) {
	dummy, err := bcrypt.GenerateFromPassword([]byte("nobody"), cost)
	if err != nil {
		return nil, err
	}
	// AUTOINCREMENT gives no ID a second time. Without it, a new user may get that of a deleted one,
	// and with it the sessions in which the deleted one was signed in.
	_, err = db.Exec(`CREATE TABLE IF NOT EXISTS users (
		id          INTEGER PRIMARY KEY AUTOINCREMENT,
		name        TEXT NOT NULL UNIQUE COLLATE NOCASE,
		password    BLOB NOT NULL,
		credentials INTEGER NOT NULL
	)`)
	return &users{db: db, cost: cost, dummy: dummy, compare: bcrypt.CompareHashAndPassword}, err
}

// add makes a new user.
func (t *users) add(ctx context.Context, name, password string) (user, error) {
	name = strings.TrimSpace(name)
	if !nameRule.MatchString(name) {
		return user{}, errName
	}
	hash, err := t.hash(password)
	if err != nil {
		return user{}, err
	}
	u := user{Name: name}
	err = t.db.QueryRowContext(ctx, `INSERT INTO users (name, password, credentials) VALUES (?, ?, ?)
		ON CONFLICT DO NOTHING RETURNING id, credentials`, name, hash, rand.Int64()).Scan(&u.ID, &u.Credentials)
	if errors.Is(err, sql.ErrNoRows) {
		return user{}, errTaken
	}
	return u, err
}

func (t *users) hash(password string) ([]byte, error) {
	switch {
	case utf8.RuneCountInString(password) < minPassword:
		return nil, errShort
	case len(password) > maxPassword:
		return nil, errLong
	}
	return bcrypt.GenerateFromPassword([]byte(password), t.cost)
}

// load returns the user with an ID, and sql.ErrNoRows if there is none.
func (t *users) load(ctx context.Context, id int64) (user, error) {
	return t.find(ctx, "id = ?", id)
}

func (t *users) find(ctx context.Context, where string, arg any) (u user, err error) {
	err = t.db.QueryRowContext(ctx, "SELECT id, name, credentials, password FROM users WHERE "+where, arg).
		Scan(&u.ID, &u.Name, &u.Credentials, &u.hash)
	return u, err
}

// check returns the user whose name and password these are. With a name that nobody has it
// takes as long, so that the time does not tell which names there are.
func (t *users) check(ctx context.Context, name, password string) (user, error) {
	u, err := t.find(ctx, "name = ?", strings.TrimSpace(name))
	known := err == nil
	if !known {
		if !errors.Is(err, sql.ErrNoRows) {
			return user{}, err
		}
		u.hash = t.dummy
	}
	if !t.hasPassword(u, password) || !known {
		return user{}, errWrong
	}
	return u, nil
}

// hasPassword checks the length too: bcrypt alone would take every password that begins with
// the right 72 bytes.
func (t *users) hasPassword(u user, password string) bool {
	return t.compare(u.hash, []byte(password)) == nil && len(password) <= maxPassword
}

// setPassword changes the password of a user, and returns the user with the new version of the
// credentials. It changes nothing if the row is not what it was when the password was checked.
func (t *users) setPassword(ctx context.Context, u user, password string) (user, error) {
	var err error
	if u.hash, err = t.hash(password); err != nil {
		return user{}, err
	}
	err = t.db.QueryRowContext(ctx, `UPDATE users SET password = ?, credentials = ?
		WHERE id = ? AND credentials = ? RETURNING credentials`, u.hash, rand.Int64(), u.ID, u.Credentials).Scan(&u.Credentials)
	if errors.Is(err, sql.ErrNoRows) {
		return user{}, errChanged
	}
	return u, err
}
