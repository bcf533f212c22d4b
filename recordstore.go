package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/flamego/session/internal/gobmap"
)

const (
	defaultLifetime    = time.Hour
	defaultTimeout     = 5 * time.Second
	defaultMaxDataSize = 1 << 20
)

// StoreConfig tells [NewStore] how to give meaning to records.
type StoreConfig struct {
	// Name is what errors call the store, for example "redis". Default is
	// "store".
	Name string
	// Lifetime is the duration without access after which a session is dead.
	// Default is 3600 seconds, also for values below one second.
	Lifetime time.Duration
	// Encoder encodes the data of a session. Default is GobEncoder.
	Encoder Encoder
	// Decoder decodes what Encoder made. Default is GobDecoder.
	Decoder Decoder
	// MaxDataSize is the greatest number of bytes of encoded data of one
	// session: saving more is an error, and more is not read. Default is 1 MiB.
	MaxDataSize int
	// IDWriter sends a session ID to the client. Default is to send nothing.
	IDWriter IDWriter
}

// NewStore returns a Store that keeps its sessions in a backend. If the backend
// is an io.Closer, so is the store.
//
// Its errors start with "session: ", the name of the store and the operation.
// They hold no session ID, also where that of the backend did; errors.Is and
// errors.As see the original. Save returns an error when the data cannot be
// encoded (naming the key and the type of the value) or takes more than
// MaxDataSize bytes, and when other requests that change the same session were
// faster time and again. Read returns an empty session and an error for data that
// it cannot decode. In each case the record stays as it is. Every method ends
// within 5 seconds, or what Options.Timeout says instead.
func NewStore(backend Backend, config StoreConfig) Store {
	if config.Name == "" {
		config.Name = "store"
	}
	if config.Encoder == nil {
		config.Encoder = GobEncoder
	}
	lazy := config.Decoder == nil
	if lazy {
		config.Decoder = GobDecoder
	}
	if config.MaxDataSize <= 0 {
		config.MaxDataSize = defaultMaxDataSize
	}
	config.Lifetime = lifetimeOrDefault(config.Lifetime)
	s := &recordStore{StoreConfig: config, backend: backend, lazy: lazy, seed: maphash.MakeSeed()}
	s.setTimeout(defaultTimeout)
	for i := range s.queues {
		s.queues[i] = make(chan struct{}, 1)
	}
	return s
}

func lifetimeOrDefault(d time.Duration) time.Duration {
	if d < time.Second {
		return defaultLifetime
	}
	return d
}

var (
	_ native    = (*recordStore)(nil)
	_ io.Closer = (*recordStore)(nil)
)

// recordStore is the portable store: it gives meaning to the records of a
// backend.
type recordStore struct {
	StoreConfig
	backend Backend
	timeout atomic.Int64 // a time.Duration
	lazy    bool         // the decoder is ours, and can wait

	// Commits of one session queue up inside this process, so that neighbours
	// do not make each other start over. Sessions that share a queue only wait
	// for each other's commits, never for a handler.
	queues [256]chan struct{}
	seed   maphash.Seed
}

func (s *recordStore) setTimeout(d time.Duration) { s.timeout.Store(int64(d)) }

// bound returns a context that ends with the timeout of one operation.
func (s *recordStore) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(s.timeout.Load()))
}

func (s *recordStore) maxIdle() time.Duration { return s.Lifetime }

func (s *recordStore) fresh(sid string) *BaseSession {
	b := NewBaseSession(sid, s.Encoder, s.IDWriter)
	b.origin = origin{store: s, sid: sid}
	return b
}

func (s *recordStore) load(ctx context.Context, sid string) (*BaseSession, error) {
	if err := checkSID(sid); err != nil {
		return nil, s.fail("read", err)
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()

	rec, found, err := s.backend.Load(ctx, sid)
	if err != nil {
		return nil, s.fail("read", err, sid)
	}
	b := s.fresh(sid)
	if !found {
		return b, nil
	}
	b.origin.stored, b.origin.raw, b.origin.idle = true, rec.Data, s.Lifetime-rec.TTL
	if b.base, err = s.open(rec.Data); err != nil {
		return b, s.fail("read", fmt.Errorf("%w: %w", errUnreadable, err), sid)
	}
	return b, nil
}

func (s *recordStore) Exist(ctx context.Context, sid string) bool {
	if checkSID(sid) != nil {
		return false
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	_, found, err := s.backend.Load(ctx, sid)
	return found && err == nil
}

func (s *recordStore) Read(ctx context.Context, sid string) (Session, error) {
	return orNone(s.load(ctx, sid))
}

func (s *recordStore) Destroy(ctx context.Context, sid string) error {
	return s.do(ctx, "destroy", sid, func(ctx context.Context) error {
		return s.backend.Delete(ctx, sid)
	})
}

func (s *recordStore) Touch(ctx context.Context, sid string) error {
	return s.do(ctx, "touch", sid, func(ctx context.Context) error {
		return s.backend.Extend(ctx, sid, s.Lifetime)
	})
}

// do runs one operation on the record of a session.
func (s *recordStore) do(ctx context.Context, op, sid string, f func(context.Context) error) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	err := checkSID(sid)
	if err == nil {
		err = f(ctx)
	}
	return s.fail(op, err, sid)
}

func (s *recordStore) GC(ctx context.Context) error {
	for more := true; more; {
		var err error
		if more, err = s.sweep(ctx); err != nil {
			return s.fail("gc", err)
		}
	}
	return nil
}

func (s *recordStore) sweep(ctx context.Context) (more bool, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return s.backend.Sweep(ctx)
}

// Close closes what the backend opened itself.
func (s *recordStore) Close() error {
	if c, ok := s.backend.(io.Closer); ok {
		return s.fail("close", c.Close())
	}
	return nil
}

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
		result = s.queue(ctx, p.origin.sid, func() error { return s.write(ctx, p) })
	}
	return p, s.fail("save", result, p.sid, p.origin.sid)
}

// queue runs f while no other commit of the same session runs in this process.
func (s *recordStore) queue(ctx context.Context, sid string, f func() error) error {
	q := s.queues[maphash.String(s.seed, sid)%uint64(len(s.queues))]
	select {
	case q <- struct{}{}:
		defer func() { <-q }()
		return f()
	case <-ctx.Done():
		return ctx.Err()
	}
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
	const tries = 30
	for try := range tries {
		if err := pause(ctx, try); err != nil {
			return err
		}
		data := p.log.apply(p.base)
		raw, err := s.encode(dataOf(data))
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
			p.stored(data, raw)
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
		base, err := s.open(rec.Data)
		if err != nil {
			base = Data(nil) // what cannot be read counts as empty
		}
		return false, p.rebase(base), nil
	default:
		return false, !p.origin.stored || p.orphan(), nil
	}
}

// pause waits before a try, longer from try to try and never quite as long as
// the others who wait.
func pause(ctx context.Context, try int) error {
	if try == 0 {
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

func (s *recordStore) encode(data Data) ([]byte, error) {
	raw, err := s.encodeSafely(data)
	if err != nil {
		return nil, err
	}
	if len(raw) > s.MaxDataSize {
		return nil, fmt.Errorf("the data takes %d bytes, more than the limit of %d", len(raw), s.MaxDataSize)
	}
	return raw, nil
}

// encodeSafely makes an error of a panic: values of the app may have methods
// that the encoder calls.
func (s *recordStore) encodeSafely(data Data) (raw []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			raw, err = nil, fmt.Errorf("the encoder panicked with a %T", v)
		}
	}()
	return s.Encoder(data)
}

// open returns the values in the bytes of a record, decoded only if there is no
// other way to know that they can be.
func (s *recordStore) open(raw []byte) (values, error) {
	if s.lazy && len(raw) <= s.MaxDataSize {
		if hasFlash, ok := gobmap.Scan(raw, flashKey); ok {
			return &encoded{raw: raw, hasFlash: hasFlash}, nil
		}
	}
	data, err := s.decode(raw)
	return data, err
}

// decode decodes bytes that may be anything.
func (s *recordStore) decode(raw []byte) (data Data, err error) {
	if len(raw) > s.MaxDataSize {
		return nil, fmt.Errorf("%d bytes, more than the limit of %d", len(raw), s.MaxDataSize)
	}
	defer func() {
		if v := recover(); v != nil {
			data, err = nil, fmt.Errorf("the decoder panicked with a %T", v)
		}
	}()
	return s.Decoder(raw)
}
