package session

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

const (
	idAlphabet      = "0123456789abcdefghijklmnopqrstuvwxyz"
	defaultIDLength = 16
)

// ErrMinimumSIDLength is returned by the methods of the stores of this module
// for a session ID of less than 3 characters.
var ErrMinimumSIDLength = errors.New("the SID does not have the minimum required length 3")

var errInvalidSID = errors.New("the SID is not 3 to 255 characters of 0-9 and a-z")

const (
	minSIDLength = 3
	maxSIDLength = 255
)

// checkSID returns an error for a session ID that no store of ours can hold.
// One alphabet for all of them: a file system may fold case, a database may
// compare without it, and a path separator must never reach either.
func checkSID(sid string) error {
	if len(sid) < minSIDLength {
		return ErrMinimumSIDLength
	}
	if len(sid) > maxSIDLength {
		return errInvalidSID
	}
	for i := range len(sid) {
		if !isIDChar(sid[i]) {
			return errInvalidSID
		}
	}
	return nil
}

func isIDChar(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z'
}

// newID returns a random session ID of the given length, or of the default
// length if that is less than the minimum. 16 characters hold 82 bits.
func newID(length int) (string, error) {
	sid, _, err := newIDBetween("", "", length)
	return sid, err
}

// newIDBetween returns a new ID and a text that has the ID between head and tail. The ID is a
// piece of the text: that is one allocation for both.
func newIDBetween(head, tail string, length int) (sid, text string, err error) {
	if length < minSIDLength {
		length = defaultIDLength
	}

	random := randomPool.Get().(*randomBytes)
	defer randomPool.Put(random)
	id := make([]byte, 0, maxSIDLength) // on the stack
	for len(id) < length {
		if random.left == 0 {
			if err := random.refill(); err != nil {
				return "", "", err
			}
		}
		id = random.appendTo(id, length)
	}
	text = head + string(id) + tail
	return text[len(head) : len(head)+len(id)], text, nil
}

// randomSource is crypto/rand; tests make it fail.
var randomSource = rand.Read

// randomPool holds bytes of the random source that wait to be used: asking the
// kernel for few takes as long as asking it for many.
var randomPool = sync.Pool{New: func() interface{} { return new(randomBytes) }}

type randomBytes struct {
	buf  [256]byte
	left int // how many at the end of buf have not been used
}

func (r *randomBytes) refill() error {
	if _, err := randomSource(r.buf[:]); err != nil {
		return fmt.Errorf("session: random source: %w", err)
	}
	r.left = len(r.buf)
	return nil
}

// appendTo makes characters of the bytes that are left, up to the given length
// of id, and forgets the bytes. One below the greatest multiple of 36 is taken
// modulo 36, any other is skipped: all characters are equally likely.
func (r *randomBytes) appendTo(id []byte, length int) []byte {
	const limit = 256 - 256%len(idAlphabet)
	buf := r.buf[len(r.buf)-r.left:]
	used := 0
	for ; used < len(buf) && len(id) < length; used++ {
		if b := int(buf[used]); b < limit {
			id = append(id, idAlphabet[b%len(idAlphabet)])
		}
	}
	clear(buf[:used])
	r.left -= used
	return id
}

// recentIDs is a set of IDs that forgets: a table of fixed size with one place for each
// ID, which a later ID may take. It may know when an ID was added.
type recentIDs struct {
	seed  maphash.Seed
	born  time.Time // times are counted from here
	table []atomic.Uint64
}

// recentPlaces is how many places a table for a whole process has.
const recentPlaces = 1 << 16

// newRecentIDs returns a table with so many places, of 8 bytes each. The number is a
// power of two.
func newRecentIDs(places int) *recentIDs {
	return &recentIDs{seed: maphash.MakeSeed(), born: time.Now(), table: make([]atomic.Uint64, places)}
}

// A place holds half of the hash of its ID, never zero, and a time in milliseconds,
// which starts over every 49 days. The time of an ID that has ended is zero.
const timeBits = 32

// anyTime is the time of an ID that was added without one.
const anyTime = 1

func (t *recentIDs) now() uint32 {
	return uint32(time.Since(t.born).Milliseconds()%(1<<timeBits-1)) + 1
}

func (t *recentIDs) place(sid string) (tag uint32, place *atomic.Uint64) {
	hash := maphash.String(t.seed, sid)
	return uint32(hash>>timeBits) | 1, &t.table[hash&uint64(len(t.table)-1)]
}

// add adds an ID without its time, which would take longer to know than all the rest.
func (t *recentIDs) add(sid string) {
	tag, place := t.place(sid)
	place.Store(uint64(tag)<<timeBits | anyTime)
}

// addNow adds an ID with its time.
func (t *recentIDs) addNow(sid string) {
	tag, place := t.place(sid)
	place.Store(uint64(tag)<<timeBits | uint64(t.now()))
}

// addInTurn is addNow, unless the place belongs to an ID that was added less than d ago. So IDs with one
// place take turns, and do not push each other out for ever.
func (t *recentIDs) addInTurn(sid string, d time.Duration) {
	tag, place := t.place(sid)
	v, now := place.Load(), t.now()
	if uint32(v) == 0 || time.Duration(now-uint32(v))*time.Millisecond >= d {
		place.CompareAndSwap(v, uint64(tag)<<timeBits|uint64(now))
	}
}

func (t *recentIDs) has(sid string) bool {
	tag, place := t.place(sid)
	v := place.Load()
	return uint32(v>>timeBits) == tag && uint32(v) != 0
}

// age returns how long ago the ID was added by addNow or addInTurn, if it is there. A table that it asks
// has no IDs by add, which would look like those of the first millisecond.
func (t *recentIDs) age(sid string) (age time.Duration, ok bool) {
	tag, place := t.place(sid)
	v := place.Load()
	return time.Duration(t.now()-uint32(v)) * time.Millisecond, uint32(v>>timeBits) == tag && uint32(v) != 0
}

// hasSince reports whether the ID was added less than d ago: see age.
func (t *recentIDs) hasSince(sid string, d time.Duration) bool {
	age, ok := t.age(sid)
	return ok && age < d
}

// end notes that an ID is not one of the set any more, for those who have seen it there.
func (t *recentIDs) end(sid string) {
	tag, place := t.place(sid)
	place.Store(uint64(tag) << timeBits)
}

func (t *recentIDs) hasEnded(sid string) bool {
	tag, place := t.place(sid)
	return place.Load() == uint64(tag)<<timeBits
}

func (t *recentIDs) remove(sid string) {
	tag, place := t.place(sid)
	if v := place.Load(); uint32(v>>timeBits) == tag {
		place.CompareAndSwap(v, 0)
	}
}
