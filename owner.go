package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/flamego/session/internal/commit"
	"github.com/flamego/session/internal/redact"
	"github.com/flamego/session/internal/seal"
	"github.com/flamego/session/internal/state"
)

// Info is what a page shows of a session that is somebody's, for example in a list of the
// devices of a user.
type Info struct {
	// Handle names the session in forms and logs: see [Handle].
	Handle string
	// Issued is when the session was first stored or last got a new ID, the zero time if that is
	// not known: see [IssuedAt].
	Issued time.Time
	// Seen is when the session was last used, to within Options.TouchInterval. Shortly before
	// Options.MaxLifetime ends the session, the last use may have been later than Seen.
	Seen time.Time
	// Expires is when the session ends if it is not used any more.
	Expires time.Time
	// Data is what the app has set, without the flash. It is not to be written to.
	Data Data
}

// Owned returns the live sessions whose value of Options.OwnerKey is the owner, the one that
// was used last first. The owner is a string, an integer or an encoding.TextMarshaler, like the
// value. The store is that of the Manager, or the one that handlers receive. The list shows
// what is stored, and not what this request has yet to save: after RegenerateID in this request
// its session is listed under the old ID, and a login in this request is not listed.
//
// It returns an error if the owner is of another type or empty, if Options.OwnerKey is not set,
// or if the store fails. A session whose owner cannot be decoded is left out.
func Owned(ctx context.Context, store Store, owner interface{}) ([]Info, error) {
	o, err := ownerOf(store, owner)
	if err != nil {
		return nil, err
	}
	sessions, err := o.list(ctx)
	if err != nil {
		return nil, err
	}
	infos := make([]Info, len(sessions))
	for i, s := range sessions {
		infos[i] = o.rules.info(s, o.rules.now())
	}
	slices.SortFunc(infos, func(a, b Info) int {
		if c := b.Seen.Compare(a.Seen); c != 0 {
			return c
		}
		return b.Issued.Compare(a.Issued)
	})
	return infos, nil
}

// End ends the session of the owner that has this handle, and reports whether there was one.
// The handle of somebody else's session ends nothing. If the store is the one that a handler
// received, and the session is that of the same request, End does what [Destroy] does: the
// cookie is expired, too. A session that gets a new ID at the same moment has a new handle, and
// goes on. The errors are those of Owned.
func End(ctx context.Context, store Store, owner interface{}, handle string) (bool, error) {
	o, err := ownerOf(store, owner)
	if err != nil {
		return false, err
	}
	ended := false
	const most = 10 // lists, as a record may have moved between the list and its end
	for range most {
		sessions, err := o.list(ctx)
		if err != nil {
			return ended, err
		}
		i := slices.IndexFunc(sessions, func(s ownedSession) bool { return handleOf(s.digest()) == handle })
		if i < 0 {
			return ended, nil
		}
		if err := o.end(ctx, sessions[i]); err != nil {
			return true, err
		}
		ended = true
		if !o.rules.hashIDs.looksTwice() {
			break
		}
	}
	return ended, nil
}

// EndOwned ends all sessions of the owner except keep, which is the session of the request, or
// nil to keep none. It is for a user who logs out all other devices, or has changed the
// password. It returns how many sessions it has ended. Sessions that get a new ID meanwhile end
// as well, and so does keep if another request gives it a new ID. But a login that has checked
// the old password may be committed only after EndOwned has returned: the guide shows how a
// version of the password, kept in the session, closes that gap. The errors are those of Owned,
// and one more: if new sessions of the owner begin as fast as EndOwned ends them. After an
// error, some sessions may have ended.
func EndOwned(ctx context.Context, store Store, owner interface{}, keep Session) (int, error) {
	o, err := ownerOf(store, owner)
	if err != nil {
		return 0, err
	}
	kept := digestsOf(keep)
	ended := 0
	// A session may get a new ID between the list and its end, and while an index is read piece
	// by piece. So it takes two empty lists in a row.
	const most = 100
	for quiet, rounds := 0, 0; quiet < 2; rounds++ {
		if rounds == most {
			return ended, errors.New("session: owned: sessions of the owner begin as fast as they are ended")
		}
		sessions, err := o.list(ctx)
		if err != nil {
			return ended, err
		}
		quiet++
		for _, s := range sessions {
			if slices.Contains(kept, s.digest()) {
				continue
			}
			if err := o.end(ctx, s); err != nil {
				return ended, err
			}
			quiet = 0
			ended++
		}
	}
	return ended, nil
}

// Handle returns a name of the session for forms and logs. Whoever sees it cannot use the
// session, as with the ID: it is the first 80 bits of the SHA-256 of the ID, as 16 characters
// of a-z and 2-7. A session that gets a new ID gets a new handle.
func Handle(s Session) string { return handleOf(seal.DigestOf(s.ID())) }

var handleEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func handleOf(digest seal.Digest) string { return handleEncoding.EncodeToString(digest[:10]) }

// digestsOf returns the digests of the IDs that a session may be stored under: its own and, until it is
// saved, the one that it had when it was read.
func digestsOf(s Session) []seal.Digest {
	b, ok := baseOf(s)
	switch {
	case b != nil:
		stored, _, _ := b.stored()
		return []seal.Digest{seal.DigestOf(b.ID()), seal.DigestOf(stored)}
	case ok || s == nil:
		return nil
	}
	return []seal.Digest{seal.DigestOf(s.ID())}
}

// ownedSession is a session as it is stored.
type ownedSession struct {
	id     string // or what takes its place: see asStored
	values state.Values
	left   time.Duration
}

func (s ownedSession) digest() seal.Digest { return digestOf(s.id) }

// owner is somebody who has sessions in a store.
type owner struct {
	text    string
	store   ownStore
	rules   *rules
	request *request // the one whose store it is, or nil
}

func ownerOf(store Store, val interface{}) (o owner, err error) {
	if s, ok := store.(*requestStore); ok {
		store, o.request = s.rq.m.store, s.rq
	}
	var ok bool
	if o.store, ok = store.(ownStore); !ok {
		return o, redact.New(fmt.Sprintf("session: owned: a store of type %T knows no owners", store), errors.ErrUnsupported)
	}
	if o.rules = o.store.rules(); o.rules.ownerKey == nil {
		return o, errors.New("session: owned: Options.OwnerKey is not set")
	}
	if o.text, ok = ownerText(val); !ok {
		return o, fmt.Errorf("session: owned: a %T names no owner, want a string that is not empty, an integer or an encoding.TextMarshaler", val)
	}
	return o, nil
}

func (o *owner) list(ctx context.Context) ([]ownedSession, error) { return o.store.owned(ctx, o.text) }

// end ends a session: that of the request as Destroy does.
func (o *owner) end(ctx context.Context, s ownedSession) error {
	if err := o.store.end(ctx, s.id, OpEnded); err != nil {
		return err
	}
	if rq := o.request; rq != nil && slices.Contains(digestsOf(rq.base), s.digest()) {
		rq.base.destroy()
	}
	return nil
}

// info returns what a page shows of a session.
func (r *rules) info(s ownedSession, now time.Time) Info {
	info := Info{Handle: handleOf(s.digest()), Issued: issued(s.values, now), Expires: now.Add(s.left), Data: Data(state.Copy(s.values))}
	info.Seen = info.Expires.Add(-r.usual(s.values))
	if born, _ := state.Born(s.values, now); info.Seen.Before(born) {
		info.Seen = born
	}
	if info.Seen.After(now) { // a store of whole seconds rounds up
		info.Seen = now
	}
	for key := range info.Data {
		if !state.IsOfApp(key) {
			delete(info.Data, key)
		}
	}
	return info
}

// endOldest ends the oldest sessions of an owner who has got one more by a change that was
// committed. The session of the change is no exception: so instances whose logins overlap agree
// on which ones stay. The change counts in any case.
func endOldest(ctx context.Context, store ownStore, c *commit.Change) {
	r := store.rules()
	if r.maxOwned == 0 || !c.Gains {
		return
	}
	const most = 10 // lists, as a session may get a new ID between the list and its end
	for range most {
		sessions, err := store.owned(ctx, r.owner(c.Values))
		if err != nil {
			r.errorFunc(err)
			return
		}
		if len(sessions) <= r.maxOwned {
			return
		}
		now := r.now()
		slices.SortFunc(sessions, func(a, b ownedSession) int {
			if c := b.born(now).Compare(a.born(now)); c != 0 {
				return c
			}
			digestA, digestB := a.digest(), b.digest()
			return bytes.Compare(digestA[:], digestB[:])
		})
		for _, s := range sessions[min(r.maxOwned, len(sessions)):] {
			err = errors.Join(err, store.end(ctx, s.id, OpEvicted))
		}
		if err != nil {
			r.errorFunc(err)
			return
		}
	}
}

func (s ownedSession) born(now time.Time) time.Time {
	born, _ := state.Born(s.values, now)
	return born
}

// owner returns the text of the owner of a session, empty if it has none.
func (r *rules) owner(v state.Values) string {
	if r.ownerKey == nil {
		return ""
	}
	text, _ := ownerText(state.Get(v, r.ownerKey))
	return text
}

// gains reports whether the session has another owner than before.
func (r *rules) gains(before, now state.Values) bool {
	if r.ownerKey == nil {
		return false
	}
	owner := r.owner(now)
	return owner != "" && owner != r.owner(before)
}

// checkOwner returns an error for changes that set an owner which cannot be one.
func (r *rules) checkOwner(l *state.Log) error {
	if r.ownerKey == nil {
		return nil
	}
	val, _ := l.Get(r.ownerKey)
	if _, ok := ownerText(val); !ok && !isNobody(val) {
		return fmt.Errorf("the value of OwnerKey is a %T, which names no owner: want a string, an integer or an encoding.TextMarshaler", val)
	}
	return nil
}

// isNobody reports whether a value says that a session has no owner.
func isNobody(val interface{}) bool {
	switch v := reflect.ValueOf(val); v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.String:
		return v.Len() == 0
	case reflect.Pointer:
		return v.IsNil()
	}
	return false
}

// ownerText returns the text of a value that names an owner. Values of the same text name
// the same owner, as a number does that comes back from JSON as a float64.
func ownerText(val interface{}) (text string, ok bool) {
	switch v := reflect.ValueOf(val); v.Kind() {
	case reflect.String:
		return v.String(), v.Len() > 0
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10), true
	case reflect.Float32, reflect.Float64:
		const exact = 1 << 53 // from there on a float64 may stand for several numbers
		if f := v.Float(); f == math.Trunc(f) && math.Abs(f) < exact {
			return strconv.FormatInt(int64(f), 10), true
		}
		return "", false
	case reflect.Pointer:
		if v.IsNil() {
			return "", false
		}
	}
	m, ok := val.(encoding.TextMarshaler)
	if !ok {
		return "", false
	}
	defer func() {
		if recover() != nil { // a value of the app that cannot be written
			text, ok = "", false
		}
	}()
	raw, err := m.MarshalText()
	return string(raw), err == nil && len(raw) > 0
}

// indexText returns the text under which an index has an owner: every text that a database
// may cut, refuse or take for another one is hashed. The store compares the whole text.
func indexText(owner string) string {
	const most = 190 // bytes: an index of MySQL has room for so many characters of utf8mb4
	if len(owner) <= most && utf8.ValidString(owner) && !strings.Contains(owner, "\x00") {
		return owner
	}
	sum := sha256.Sum256([]byte(owner))
	return "sha256:" + hex.EncodeToString(sum[:])
}
