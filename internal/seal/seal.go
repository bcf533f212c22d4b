// Package seal encrypts what a store keeps of a session, so that whoever can read the database reads
// nothing, and whoever can write to it forges nothing.
//
// # Form
//
// A sealed text is one byte ([First]), 12 bytes of nonce, the text under AES-256-GCM, and 16 bytes of
// authentication tag: [Overhead] bytes more than the text. Neither gob nor JSON begins with that byte, so
// a store can tell what is sealed from what is not.
//
// # Keys
//
// Each session has a key of its own, made by HKDF (RFC 5869) of a key of the app and the SHA-256 of the
// session ID. So a text that is copied to another session does not open there. And the number of texts
// under one key, which a random nonce limits to 2^32 (NIST SP 800-38D, 8.3), is that of the saves of one
// session.
//
// The SHA-256 takes the place of the ID since it is all that is known where a database keeps no IDs.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

const (
	// KeySize is the length of a key of the app in bytes.
	KeySize = 32
	// First is the first byte of a sealed text. Gob begins with the length of a message: a number
	// below 128 is a byte, and before others stands one of 0xF8 to 0xFF. JSON begins with ASCII.
	First = 0x9E
	// Overhead is how many bytes a sealed text is longer than the text.
	Overhead = 1 + nonceSize + tagSize

	nonceSize, tagSize = 12, 16
)

// Digest is the SHA-256 of a session ID.
type Digest [sha256.Size]byte

// DigestOf returns the digest of a session ID.
func DigestOf(sid string) Digest { return sha256.Sum256([]byte(sid)) }

// Keys are the keys of an app: the first one seals, and each opens. A key that is nil stands for no
// encryption. The zero value seals nothing, and opens nothing that is sealed.
type Keys struct{ keys []key }

// key is a key of the app, by what is made of it. Both are nil if it stands for no encryption.
type key struct{ sealing, owners []byte }

// New returns the keys. An error names the place of a key that cannot be one, and not the key.
func New(keys [][]byte) (Keys, error) {
	var k Keys
	for i, secret := range keys {
		for j := range i {
			if hmac.Equal(keys[j], secret) {
				return Keys{}, fmt.Errorf("key %d is key %d once more", i+1, j+1)
			}
		}
		if secret == nil {
			k.keys = append(k.keys, key{})
			continue
		}
		if len(secret) != KeySize {
			return Keys{}, fmt.Errorf("key %d has %d bytes, not %d", i+1, len(secret), KeySize)
		}
		k.keys = append(k.keys, key{derive(secret, "flamego/session: data"), derive(secret, "flamego/session: owners")})
	}
	return k, nil
}

// derive returns a key for one purpose. The error of HKDF is only about a length that is too great.
func derive(secret []byte, purpose string) []byte {
	made, err := hkdf.Expand(sha256.New, secret, purpose, KeySize)
	if err != nil {
		panic(err)
	}
	return made
}

// Any reports whether there is a key.
func (k Keys) Any() bool { return len(k.keys) > 0 }

// Seals reports whether the first key encrypts.
func (k Keys) Seals() bool { return k.Any() && k.keys[0].sealing != nil }

// Len returns how many keys there are.
func (k Keys) Len() int { return len(k.keys) }

// aead returns the cipher of a session.
func (k key) aead(session Digest) cipher.AEAD {
	block, err := aes.NewCipher(derive(k.sealing, string(session[:])))
	if err != nil {
		panic(err) // the key has the right length
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has the right block size
	}
	return aead
}

// Seal seals a text of a session by the first key.
func (k Keys) Seal(session Digest, text []byte) []byte {
	if !k.Seals() {
		return text
	}
	sealed := make([]byte, 1, Overhead+len(text))
	sealed[0] = First
	return k.keys[0].aead(session).Seal(sealed, nil, text, nil)
}

// Errors of Open.
var (
	// ErrNoKey says that no key opens the text, or that the text was changed or is that of another
	// session: these look alike.
	ErrNoKey = errors.New("no key opens the data: it was sealed by another key, was changed, or belongs to another session")
	// ErrPlain says that the text is not sealed, and that no key allows that.
	ErrPlain = errors.New("the data is not sealed, and Keys has no nil, which stands for plain data")
)

// Begins reports whether a text begins as a sealed one does.
func Begins(text []byte) bool { return len(text) > 0 && text[0] == First }

// Open returns the text, and which of the keys has sealed it. What is not sealed is the text itself, if
// one of the keys is nil.
func (k Keys) Open(session Digest, sealed []byte) (text []byte, by int, err error) {
	if !k.Any() {
		return sealed, 0, nil
	}
	if !Begins(sealed) {
		for i, key := range k.keys {
			if key.sealing == nil {
				return sealed, i, nil
			}
		}
		return nil, 0, ErrPlain
	}
	for i, key := range k.keys {
		if key.sealing == nil {
			continue
		}
		if text, err := key.aead(session).Open(nil, nil, sealed[1:], nil); err == nil {
			return text, i, nil
		}
	}
	return nil, 0, ErrNoKey
}

// Owner returns the text under which an index has an owner in a record that a key has sealed: an HMAC, so
// that the index names nobody.
func (k Keys) Owner(by int, owner string) string {
	if owner == "" || !k.Any() || k.keys[by].owners == nil {
		return owner
	}
	mac := hmac.New(sha256.New, k.keys[by].owners)
	mac.Write([]byte(owner))
	return "hmac:" + hex.EncodeToString(mac.Sum(nil))
}
