// Package script has the Lua scripts of the stores in Redis, and what the scripts take.
// All of them take the keys of sessions as keys, and return 1 for yes and 0 for no, unless
// their comment says otherwise. None returns nil, which some clients take for an error.
package script

import (
	"crypto/sha1" // what the server has; see Hash
	"encoding/hex"
	"strings"
	"time"

	"github.com/flamego/session/internal/redact"
	"github.com/flamego/session/internal/ttl"
)

// Prefix is what keys start with by default.
const Prefix = "session:"

// ifSame begins a script, and ends it unless the first key holds the bytes that the
// caller has read: see Expected.
const ifSame = `
local data = redis.call('GET', KEYS[1])
if not data then return 0 end
if ARGV[2] == 'sha1' then data = redis.sha1hex(data) end
if data ~= ARGV[1] then return 0 end
`

// The scripts that replace what the caller has read. Their first two arguments are those
// of Expected. Then come the new data and its milliseconds to live.
const (
	Swap = ifSame + `
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1`

	// SET comes before DEL, because SET fails when memory is full.
	Rename = ifSame + `
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
redis.call('DEL', KEYS[1])
return 1`

	// Remove is the first step of a rename in two.
	Remove = ifSame + `
return redis.call('DEL', KEYS[1])`
)

// Extend takes milliseconds. Since Redis 7, PEXPIRE with GT would do. A TTL of -1 means
// that the key does not expire, -2 that there is no key.
const Extend = `
local ttl = redis.call('PTTL', KEYS[1])
if ttl == -1 or ttl >= 0 and ttl < tonumber(ARGV[1]) then
	return redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 0`

// Time returns the time of the server in milliseconds since 1970. The key says which server is
// asked.
const Time = `
local time = redis.call('TIME')
return time[1] * 1000 + math.floor(time[2] / 1000)`

// These scripts are for clients for which scripts are better than commands.
const (
	// Load returns 0, or the data and the TTL.
	Load = `
local data = redis.call('GET', KEYS[1])
if not data then return 0 end
return {data, redis.call('PTTL', KEYS[1])}`

	// Insert takes the data and its milliseconds to live.
	Insert = `
if redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') then return 1 end
return 0`

	Delete = `return redis.call('DEL', KEYS[1])`
)

// Check calls all commands that the store needs on a key that is not there, and returns the
// name of the first one that is refused, or OK. Other errors do not count: they may pass.
const Check = `
for _, call in ipairs({
	{'GET', KEYS[1]}, {'PTTL', KEYS[1]}, {'EXISTS', KEYS[1]}, {'PEXPIRE', KEYS[1], 1},
	{'SET', KEYS[1], '', 'PX', 1, 'XX'}, {'DEL', KEYS[1]}
` + refused

// CheckOwners is Check for what the index of owners needs in addition. A second key of either is
// only for the server to say whether it is in the same slot.
const CheckOwners = `
for _, call in ipairs({
	{'TIME'}, {'ZADD', KEYS[1], 'XX', 1, ''}, {'ZREM', KEYS[1], ''},
	{'ZREMRANGEBYSCORE', KEYS[1], 1, 1}, {'ZRANGE', KEYS[1], 0, 0}
` + refused

// refused ends a script that checks commands.
const refused = `}) do
	local reply = redis.pcall(unpack(call))
	local err = type(reply) == 'table' and reply['err']
	if err and (string.find(err, 'NOPERM') or string.find(err, 'user executing') or string.find(err, 'nknown')) then
		return call[1]
	end
end
return 'OK'`

// Command returns the name of a command that Check or CheckOwners calls, or a text if it is
// none.
func Command(name string) string {
	switch name {
	case "GET", "PTTL", "EXISTS", "PEXPIRE", "SET", "DEL",
		"TIME", "ZADD", "ZREM", "ZREMRANGEBYSCORE", "ZRANGE":
		return name
	}
	return "a command"
}

// CheckKey is what Check is called with, behind the prefix. It is not the ID of a session.
const CheckKey = "flamego::session::check"

// CheckOtherKey is in another slot than CheckKey, whatever the prefix, if that has no hash tag:
// the texts are of the same length, so the difference of their checksums is always the same.
const CheckOtherKey = "flamego::session::owner"

// Expected returns what a script compares with, and how: the bytes, or their hash if they
// are so many that to send them would cost more. SHA-1 is enough, as the hash protects
// nothing: an attacker who made two versions of a session with the same hash would only
// hide a change from himself.
func Expected(old []byte) (want, how string) {
	if len(old) <= 4096 {
		return string(old), "bytes"
	}
	return Hash(string(old)), "sha1"
}

// Hash returns the SHA-1 of a text as Redis writes it, by which it also knows a script.
func Hash(text string) string {
	sum := sha1.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

// IsOneSlot reports whether all keys with the prefix are in one slot of a Cluster: whether
// the prefix has a hash tag.
func IsOneSlot(prefix string) bool {
	_, tag, _ := strings.Cut(prefix, "{")
	return strings.IndexByte(tag, '}') > 0
}

// Millis is d in milliseconds, and at least 1: Redis refuses to let a key expire at once.
func Millis(d time.Duration) int64 { return max(ttl.Millis(d), 1) }

// ErrReply is the error for a reply that no script gives.
var ErrReply = redact.New("the reply to a script is of another form", nil)

// Number returns what a script says that returns a number.
func Number(reply any) (int64, error) {
	if n, ok := reply.(int64); ok {
		return n, nil
	}
	return 0, ErrReply
}

// IsYes returns what a script says that returns 1 or 0.
func IsYes(reply any) (bool, error) {
	n, err := Number(reply)
	return n == 1, err
}

// Loaded returns what Load says. A key without an expiry has a TTL of 0.
func Loaded(reply any) (data []byte, left time.Duration, found bool, err error) {
	if n, ok := reply.(int64); ok && n == 0 {
		return nil, 0, false, nil
	}
	both, ok := reply.([]any)
	if !ok || len(both) != 2 {
		return nil, 0, false, ErrReply
	}
	data, isText := Text(both[0])
	ms, isNumber := both[1].(int64)
	if !isText || !isNumber {
		return nil, 0, false, ErrReply
	}
	if ms == -2 { // before Redis 7 it may expire between the two
		return nil, 0, false, nil
	}
	return data, time.Duration(max(ms, 0)) * time.Millisecond, true, nil
}

// Text returns the bytes of a reply that is a string or bytes.
func Text(reply any) ([]byte, bool) {
	switch text := reply.(type) {
	case string:
		return []byte(text), true
	case []byte:
		return text, true
	}
	return nil, false
}
