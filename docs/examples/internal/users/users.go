// Package users stands in for the table of users of an app: it is what the examples with a
// login need of one. It keeps the users in memory, and there is one: alice, whose password is
// Password.
package users

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"slices"
	"sync"
)

// Password is the password of alice, until she changes it.
const Password = "correct horse"

// User is a row of the table.
type User struct {
	ID   int
	Name string
	// Credentials is the version of what the user logs in with. A new password is a new
	// version: "UPDATE users SET password = ?, credentials = credentials + 1".
	Credentials int

	salt, hash []byte
}

// Table is the table.
type Table struct {
	// hash makes of a password what is stored. An app may as well use argon2 or bcrypt, of
	// golang.org/x/crypto.
	hash func(password string, salt []byte) []byte

	mu   sync.Mutex
	rows map[int]User
}

// New returns a table with its user.
func New() *Table { return NewWithHash(pbkdf2SHA256) }

// NewWithHash is New with another hash function, such as Plain.
func NewWithHash(hash func(password string, salt []byte) []byte) *Table {
	t := &Table{hash: hash, rows: make(map[int]User)}
	t.rows[7] = t.withPassword(User{ID: 7, Name: "alice"}, Password)
	return t
}

// Plain is no hash at all. It is for tests that have no time.
func Plain(password string, salt []byte) []byte { return append([]byte(password), salt...) }

func pbkdf2SHA256(password string, salt []byte) []byte {
	const rounds = 600_000
	key, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		panic(err) // of wrong parameters only
	}
	return key
}

func (t *Table) withPassword(u User, password string) User {
	u.Credentials++
	u.salt = []byte(rand.Text())
	u.hash = t.hash(password, u.salt)
	return u
}

// Load returns the row of a user, as an app does in each request of somebody who is logged
// in.
func (t *Table) Load(id int) (User, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u, ok := t.rows[id]
	return u, ok
}

// Check returns the row of a user, as it was when the password was checked, if the password
// is right. For a name that nobody has it takes as long.
func (t *Table) Check(name, password string) (User, bool) {
	t.mu.Lock()
	rows := slices.Collect(maps.Values(t.rows))
	t.mu.Unlock()
	i := slices.IndexFunc(rows, func(u User) bool { return u.Name == name })
	var u User
	if i >= 0 {
		u = rows[i]
	}
	ok := subtle.ConstantTimeCompare(t.hash(password, u.salt), u.hash) == 1
	return u, ok
}

// SetPassword changes the password of a user, and returns the new row.
func (t *Table) SetPassword(id int, password string) User {
	u := t.withPassword(User{}, password)
	t.mu.Lock()
	defer t.mu.Unlock()
	row := t.rows[id]
	row.salt, row.hash = u.salt, u.hash
	row.Credentials++
	t.rows[id] = row
	return row
}
