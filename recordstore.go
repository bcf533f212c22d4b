package session

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"sync/atomic"
	"time"

	"github.com/flamego/session/internal/deadline"
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
	for i := range s.lanes {
		s.lanes[i].turn = make(chan lastCommit, 1)
		s.lanes[i].turn <- lastCommit{}
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

	lanes   [256]lane
	seed    maphash.Seed  // of who goes to which
	commits atomic.Uint64 // how many there have been
}

func (s *recordStore) setTimeout(d time.Duration) { s.timeout.Store(int64(d)) }

// bound returns a context that ends with the timeout of one operation.
func (s *recordStore) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return deadline.Within(ctx, time.Duration(s.timeout.Load()))
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

	b := s.fresh(sid)
	b.origin.seen = s.commits.Load()
	rec, found, err := s.backend.Load(ctx, sid)
	if err != nil {
		return nil, s.fail("read", err, sid)
	}
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

// GC rests after each step for as long as the step took, so that it never takes
// more than half of what the database can do from those who wait for it.
func (s *recordStore) GC(ctx context.Context) error {
	for {
		start := time.Now()
		more, err := s.sweep(ctx)
		if err != nil || !more {
			return s.fail("gc", err)
		}
		select {
		case <-time.After(time.Since(start)):
		case <-ctx.Done():
			return s.fail("gc", ctx.Err())
		}
	}
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

// encode returns the bytes of values, which are those that were read if nobody has
// changed them.
func (s *recordStore) encode(v values) ([]byte, error) {
	if e, ok := v.(*encoded); ok {
		return e.raw, nil
	}
	raw, err := s.encodeSafely(dataOf(v))
	if err != nil {
		return nil, err
	}
	if len(raw) > s.MaxDataSize {
		return nil, fmt.Errorf("the data takes %d bytes, more than the limit of %d", len(raw), s.MaxDataSize)
	}
	return raw, nil
}

// encodedAs returns values that have been encoded, as they would be read, but for the
// session that set some of them: these it may go on changing.
func (s *recordStore) encodedAs(raw []byte, v values) values {
	if e, ok := v.(*encoded); ok {
		return e
	}
	return &encoded{raw: raw, store: s, data: dataOf(v), shown: true}
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
	e := &encoded{raw: raw, store: s}
	if s.lazy && len(raw) <= s.MaxDataSize {
		var ok bool
		if e.hasFlash, ok = gobmap.Scan(raw, flashKey, &e.index); ok {
			return e, nil
		}
	}
	data, err := s.decode(raw)
	if err != nil {
		return nil, err
	}
	if e.data = data; data == nil {
		e.data = Data{}
	}
	return e, nil
}

// openOrEmpty is open where what cannot be read counts as empty.
func (s *recordStore) openOrEmpty(raw []byte) values {
	v, err := s.open(raw)
	if err != nil {
		return Data(nil)
	}
	return v
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
