package session

import (
	"bytes"
	"context"
	"errors"
	"math"
	"reflect"
	"time"

	"github.com/flamego/session/internal/state"
)

// foreign is the keeper of a store of another make, which has the six methods of
// Store and no more. Nothing is merged there: a session is saved whole, and the last
// one to save it wins.
type foreign struct {
	store   Store
	timeout time.Duration // of one operation
}

var _ keeper = foreign{}

func (k foreign) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, k.timeout)
}

func (k foreign) read(ctx context.Context, sid string) (Session, bool, error) {
	ctx, cancel := k.bound(ctx)
	defer cancel()
	found := k.store.Exist(ctx, sid)
	sess, err := k.session(ctx, sid)
	return sess, found, err
}

func (k foreign) create(ctx context.Context, sid string) (Session, error) {
	ctx, cancel := k.bound(ctx)
	defer cancel()
	return k.session(ctx, sid)
}

func (k foreign) session(ctx context.Context, sid string) (Session, error) {
	sess, err := k.store.Read(ctx, sid)
	if err == nil && sess == nil {
		err = errors.New("session: the store returned no session and no error")
	}
	return sess, err
}

// attach tells the session nothing: the store may have given it to many requests.
func (k foreign) attach(*request) Store { return k.store }

// takeFlash takes the flash out of the session, from where the next save takes it
// out of the store.
func (k foreign) takeFlash(_ context.Context, v *visit) (Flash, error) {
	flash := v.sess.Get(state.FlashKey)
	if flash != nil {
		v.sess.Delete(state.FlashKey)
	}
	return flash, nil
}

// giveFlash does nothing: before the save the flash is still in the store.
func (k foreign) giveFlash(context.Context, *visit, Flash) error { return nil }

// look calls the session idle for long: nobody knows its lifetime, so each request
// extends it.
func (k foreign) look(v *visit) (changed, dead bool, idle time.Duration) {
	return k.changed(v), v.isDead(), math.MaxInt64
}

// changed asks the session. One that says forever that it has changed is compared
// with what it was saved as: to save it once more would undo what other requests
// did since.
func (k foreign) changed(v *visit) bool {
	if v.sess.ID() != v.storedID {
		return true
	}
	if !v.sess.HasChanged() || v.savedAs == nil {
		return v.sess.HasChanged()
	}
	data, err := v.sess.Encode()
	return err != nil || !sameData(data, v.savedAs)
}

// sameData compares what two sessions were encoded to. Gob writes a map in any
// order, so different bytes may mean the same.
func sameData(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	dataA, errA := GobDecoder(a)
	dataB, errB := GobDecoder(b)
	return errA == nil && errB == nil && reflect.DeepEqual(dataA, dataB)
}

func (k foreign) exact() bool { return false }

func (k foreign) isEmpty(*visit) bool { return false }

// save destroys the session under the old ID if it has a new one.
func (k foreign) save(ctx context.Context, v *visit) error {
	ctx, cancel := k.bound(ctx)
	defer cancel()
	if v.isDead() {
		v.stored = false
		return k.store.Destroy(ctx, v.storedID)
	}
	count := 0
	if v.base != nil {
		count = v.base.changeCount()
	}
	if err := k.store.Save(ctx, v.sess); err != nil {
		return err
	}
	if sid := v.sess.ID(); sid != v.storedID {
		if v.stored {
			if err := k.store.Destroy(ctx, v.storedID); err != nil {
				return err
			}
		}
		v.storedID = sid
	}
	v.stored = true
	if v.base != nil {
		v.base.settle(count)
	} else if v.sess.HasChanged() {
		v.savedAs, _ = v.sess.Encode()
	}
	return nil
}

// follow does nothing: the session is going to be saved whole.
func (k foreign) follow(*visit, Session) {}

func (k foreign) touch(ctx context.Context, sid string) error {
	ctx, cancel := k.bound(ctx)
	defer cancel()
	return k.store.Touch(ctx, sid)
}
