package session

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

func (s *recordStore) Save(ctx context.Context, sess Session) error {
	b, err := sessionOf(sess, s.decode)
	if err != nil {
		return s.fail("save", err)
	}
	_, err = s.commit(ctx, b, always)
	return err
}

func (s *recordStore) takeFlash(ctx context.Context, b *BaseSession) (Flash, error) {
	b.Delete(flashKey)
	p, err := s.commit(ctx, b, ifFlash)
	return p.flash, err
}

func (s *recordStore) giveFlash(ctx context.Context, b *BaseSession, flash Flash) error {
	b.SetFlash(flash)
	_, err := s.commit(ctx, b, ifNoFlash)
	return err
}

func (s *recordStore) commit(ctx context.Context, b *BaseSession, when condition) (p *pending, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()

	p = b.begin(s)
	p.when = when
	result := errPanicked
	defer func() { b.end(p, result) }()
	if result = checkSID(p.sid); result == nil && !p.gone {
		result = errPanicked
		result = s.inLane(ctx, p)
	}
	return p, s.fail("save", result, p.sid, p.origin.sid)
}

// errPanicked is what end is told when a backend panics.
var errPanicked = errors.New("the backend panicked")

var errContended = errors.New("other requests changed the session faster, time and again")

// write brings p into the backend, starting over on fresh data as long as other
// writers are faster.
func (s *recordStore) write(ctx context.Context, p *pending) error {
	if p.log.ended {
		err := s.backend.Delete(ctx, p.origin.sid)
		if err == nil {
			p.end()
		}
		return err
	}
	if !p.holds() {
		return nil
	}
	const tries = 30
	for try := range tries {
		if err := pause(ctx, try); err != nil {
			return err
		}
		data := p.log.apply(p.base)
		raw, err := s.encode(data)
		if err != nil {
			return err
		}
		ok, err := s.put(ctx, p, Record{Data: raw, TTL: s.Lifetime})
		if err != nil {
			return err
		}
		if !ok {
			// Refused: somebody was faster, or a driver sent our write twice
			// because the first answer was lost, and it was us.
			var again bool
			if ok, again, err = s.refused(ctx, p, raw); err != nil {
				return err
			}
			if !ok && !again {
				return nil
			}
		}
		if ok {
			p.stored(s.encodedAs(raw, data), raw)
			return nil
		}
	}
	return errContended
}

// put makes the one write that p calls for.
func (s *recordStore) put(ctx context.Context, p *pending, rec Record) (bool, error) {
	switch {
	case !p.origin.stored:
		return s.backend.Insert(ctx, p.sid, rec)
	case p.sid != p.origin.sid:
		return s.backend.Rename(ctx, p.origin.sid, p.sid, p.origin.raw, rec)
	default:
		return s.backend.Swap(ctx, p.sid, p.origin.raw, rec)
	}
}

// refused finds out why a write was refused. It reports ok if it was not
// really, and again if p was put on fresh data and is to be written once more.
func (s *recordStore) refused(ctx context.Context, p *pending, raw []byte) (ok, again bool, err error) {
	at := p.sid
	rec, found, err := s.backend.Load(ctx, at)
	// Two requests that take the same flash write the same bytes: there equal
	// bytes prove nothing, and a flash is rather lost than shown twice.
	if err == nil && found && p.when != ifFlash && bytes.Equal(rec.Data, raw) {
		return true, false, nil
	}
	if err == nil && p.origin.stored && at != p.origin.sid {
		at = p.origin.sid
		rec, found, err = s.backend.Load(ctx, at)
	}
	switch {
	case err != nil:
		return false, false, err
	case found:
		p.origin.sid, p.origin.stored, p.origin.raw = at, true, rec.Data
		return false, p.rebase(s.openOrEmpty(rec.Data)), nil
	default:
		return false, !p.origin.stored || p.orphan(), nil
	}
}

// pause waits before a try, longer from try to try and never quite as long as
// the others who wait. The second try does not wait: what was read may just have
// been old.
func pause(ctx context.Context, try int) error {
	if try < 2 {
		return nil
	}
	limit := min(time.Millisecond<<min(try, 6), 50*time.Millisecond)
	select {
	case <-time.After(rand.N(limit)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
