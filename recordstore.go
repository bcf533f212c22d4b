package session

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/flamego/session/internal/commit"
	"github.com/flamego/session/internal/deadline"
	"github.com/flamego/session/internal/redact"
	"github.com/flamego/session/internal/state"
)

const (
	defaultTimeout     = 5 * time.Second
	defaultMaxDataSize = 1 << 20
)

// StoreConfig tells [NewStore] what the records of a backend mean.
type StoreConfig struct {
	// Name is what errors call the store, for example "redis". Default is
	// "store".
	Name string
	// Lifetime is the duration without access after which a session ends.
	// Default is 3600 seconds, also for values below one second.
	Lifetime time.Duration
	// Encoder encodes the data of a session. Default is GobEncoder.
	Encoder Encoder
	// Decoder decodes what Encoder made. Default is GobDecoder.
	Decoder Decoder
	// MaxDataSize is the greatest number of bytes of encoded data of one session: to save more
	// is an error, and a larger record is not decoded. Default is 1 MiB.
	MaxDataSize int
	// SharedKeys says that there may be records of others under keys of the same form as
	// session IDs, as in Redis without a prefix. Then only IDs of exactly Options.IDLength
	// (without a Manager: 16) are looked up. And a record that holds no data, or of which
	// nothing can be decoded, is never replaced, renamed, extended or deleted: to try is an
	// error. A touch and a destroy cost one more operation. Default is false.
	SharedKeys bool
	// IDWriter sends a session ID to the client. Default is to send nothing.
	IDWriter IDWriter
}

// NewStore returns a Store that keeps its sessions in a backend. If the backend
// is an io.Closer, so is the store.
//
// Its errors start with "session: ", the name of the store and the operation. Their text holds
// no session ID and nothing in quotes, even if the error of the backend does; errors.Is and
// errors.As find the original error. Save returns an error when the data cannot be encoded
// (naming the key and the type of the value) or takes more than MaxDataSize bytes, and when
// other requests that change the same session were faster time and again. In each case the
// record stays as it is. Every method ends within 5 seconds, or what Options.Timeout says
// instead; GC does so in each step.
//
// Where not all of the data can be decoded, as in a process that does not know a type
// yet, Read returns a session with the rest of it and an error that names a key and its
// type. Save keeps what it could not decode, unless its key was set or deleted or the
// session flushed. With an Encoder other than GobEncoder it cannot, and returns an error
// instead. Where nothing can be decoded, Read returns an empty session and an error, and
// what is set replaces the data. If another process has replaced the undecodable data since
// the session was read, Save returns an error.
func NewStore(backend Backend, config StoreConfig) Store {
	return newStore(foreignBackend{wrappedBackend{backend}}, config)
}

func newStore(backend Backend, config StoreConfig) Store {
	if config.Name == "" {
		config.Name = "store"
	}
	if config.Encoder == nil {
		config.Encoder = GobEncoder
	}
	if config.Decoder == nil {
		config.Decoder = GobDecoder
	}
	if config.MaxDataSize <= 0 {
		config.MaxDataSize = defaultMaxDataSize
	}
	s := &recordStore{
		name:    config.Name,
		funcs:   sessionFuncs{config.Encoder, config.IDWriter},
		backend: backend,
		shared:  config.SharedKeys,
		renewed: newRecentIDs(1 << 12), // for the time until a mark is in the backend
	}
	s.codec = state.Codec{
		EncodeFunc: func(m map[interface{}]interface{}) ([]byte, error) { return config.Encoder(m) },
		DecodeFunc: func(raw []byte) (map[interface{}]interface{}, error) { return config.Decoder(raw) },
		Joins:      isGobEncoder(config.Encoder),
		MaxSize:    config.MaxDataSize,
	}
	s.engine = commit.New(records{s})
	s.current.Store(newRules(config.Lifetime))
	s.timeout.Store(int64(defaultTimeout))
	s.idLength.Store(defaultIDLength)
	return s
}

var (
	_ ownStore  = (*recordStore)(nil)
	_ io.Closer = (*recordStore)(nil)
)

// recordStore is the store that NewStore returns, the same for all backends. It says
// what a record means: which session it is, what is in it, and how long it lives.
type recordStore struct {
	name     string
	current  atomic.Pointer[rules]
	funcs    sessionFuncs
	codec    state.Codec
	backend  Backend
	engine   *commit.Engine
	renewed  *recentIDs   // IDs that were given up by this process a moment ago
	timeout  atomic.Int64 // a time.Duration
	shared   bool         // StoreConfig.SharedKeys
	idLength atomic.Int64 // of all IDs, if shared

	clockIsWrong atomic.Bool // and ErrorFunc has been told
}

func (s *recordStore) configure(o *Options) error {
	r, err := s.rules().with(o)
	if err == nil && o.OwnerKey != nil {
		err = s.initOwners()
	}
	if err != nil {
		return err
	}
	if !s.rules().configured {
		s.wrap(r)
	}
	s.current.Store(r)
	s.timeout.Store(int64(o.Timeout))
	s.idLength.Store(int64(o.IDLength))
	s.learnTime(context.Background())
	return nil
}

// wrap puts around the backend what the options ask for.
func (s *recordStore) wrap(r *rules) {
	if r.observer != nil {
		s.backend = observedBackend{wrappedBackend{s.backend}, s.rules}
	}
	if r.hashIDs != HashNone {
		hashed := newHashedBackend(s.backend, r.hashIDs)
		if s.shared {
			hashed.isOurs = s.isOurs
		}
		s.backend = hashed
	}
}

// wrongClock is by how much a clock may be wrong without a word.
const wrongClock = time.Minute

// learnTime asks the server for the time.
func (s *recordStore) learnTime(ctx context.Context) {
	server, ok := s.backend.(ServerClock)
	if !ok {
		return
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	r := s.rules()
	ahead, err := r.clock.Learn(func() (time.Time, error) { return server.ServerTime(ctx) })
	wrong := err == nil && ahead.Abs() > wrongClock
	if told := s.clockIsWrong.Swap(wrong); wrong && !told {
		way := "ahead of"
		if ahead < 0 {
			way = "behind"
		}
		r.errorFunc(s.fail("clock", fmt.Errorf("that of this process is %v %s that of the server, which counts", ahead.Abs().Round(time.Second), way)))
	}
}

func (s *recordStore) rules() *rules { return s.current.Load() }

// bound returns a context that ends with the timeout of one operation.
func (s *recordStore) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return deadline.Within(ctx, time.Duration(s.timeout.Load()))
}

func (s *recordStore) begin(b *BaseSession, sid string) {
	*b = BaseSession{sid: sid, funcs: &s.funcs}
	b.origin = origin{store: s, Origin: commit.Origin{ID: sid}}
}

func (s *recordStore) load(ctx context.Context, sid string, b *BaseSession) error {
	if err := s.checkSID(sid); err != nil {
		return s.fail("read", err)
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()

	s.begin(b, sid)
	b.origin.Seq = s.engine.Seq()
	now, left, err := s.find(ctx, sid)
	if err != nil {
		return s.fail("read", err)
	}
	if b.origin.Status = now.Status; now.Status != commit.Live {
		return nil
	}
	b.base = now.Values
	b.origin.idle, b.origin.custom = s.rules().idle(now.Values, left)
	b.origin.Data, b.origin.Values, b.origin.Rest = now.Data, now.Values, now.Rest
	b.origin.Expires = now.Expires
	if now.Undecoded != nil {
		b.origin.Unreadable = now.Values == nil || now.Rest.IsAll()
		err := s.fail("read", fmt.Errorf("%w: %w", errUnreadable, now.Undecoded))
		s.rules().observer.became(ctx, OpUnreadable, sid, err)
		return err
	}
	return nil
}

// find looks for a record, and says what it means for its ID and how much time it has left.
func (s *recordStore) find(ctx context.Context, sid string) (now commit.Found, left time.Duration, err error) {
	rec, found, err := s.backend.Load(ctx, sid)
	switch {
	case err != nil:
		return now, 0, err
	case !found && s.renewed.hasSince(sid, state.MarkFor):
		return commit.Found{Status: commit.Renewed}, 0, nil
	case !found:
		return now, 0, nil
	}
	now.Data, now.Expires = rec.Data, commit.In(rec.TTL)
	now.Values, now.Rest, now.Undecoded = s.decode(sid, rec.Data)
	now.Status = s.rules().status(now.Values, state.IsMark(now.Values), rec.TTL)
	if s.rules().isOver(now.Values) {
		s.endLate(ctx, sid, rec)
	}
	return now, rec.TTL, nil
}

// endLate ends a record that has outlived MaxLifetime, because a process without that option
// has extended it: for such processes it would go on. It does nothing if somebody changes the
// record meanwhile, and where a store of whole seconds has only rounded up.
func (s *recordStore) endLate(ctx context.Context, sid string, rec Record) {
	if rec.TTL > 2*time.Second {
		_, _ = s.backend.Swap(ctx, sid, rec.Data, Record{Data: rec.Data, TTL: time.Millisecond})
	}
}

func (s *recordStore) Exist(ctx context.Context, sid string) bool {
	if s.checkSID(sid) != nil {
		return false
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	now, _, err := s.find(ctx, sid)
	return now.Status == commit.Live && err == nil
}

func (s *recordStore) Read(ctx context.Context, sid string) (Session, error) {
	return readSession(ctx, s, sid)
}

func (s *recordStore) Destroy(ctx context.Context, sid string) error {
	if err := s.checkSID(sid); err != nil {
		return s.fail("destroy", err)
	}
	return s.end(ctx, sid, OpEnded)
}

func (s *recordStore) end(ctx context.Context, sid string, why Op) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	err := records{s}.Delete(ctx, sid)
	if err == nil {
		s.rules().observer.became(ctx, why, sid, nil)
	}
	return s.fail("destroy", err)
}

func (s *recordStore) Touch(ctx context.Context, sid string) error {
	r := s.rules()
	if !r.needsValues() && r.keys.Len() < 2 && !r.hashIDs.looksTwice() {
		return s.extendBy(ctx, sid, r.ttl(nil, false))
	}
	var b BaseSession
	if err := s.load(ctx, sid, &b); b.origin.Status != commit.Live {
		return err
	}
	return s.extend(ctx, &b)
}

func (s *recordStore) extend(ctx context.Context, b *BaseSession) error {
	r := s.rules()
	sid, values, whole := b.stored()
	// A value that could not be decoded may be the owner.
	if whole && r.extendsBySaving(values) || (whole || r.ownerKey == nil) && (r.hashIDs.looksTwice() || s.isOutdated(b)) {
		_, err := s.commit(ctx, b.likeness(), commit.Always)
		return err
	}
	return s.extendBy(ctx, sid, r.ttl(values, false))
}

func (s *recordStore) extendBy(ctx context.Context, sid string, ttl time.Duration) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if err := s.checkSID(sid); err != nil {
		return s.fail("touch", err)
	}
	if ours, err := s.mayTouch(ctx, sid); !ours {
		return s.fail("touch", err)
	}
	return s.fail("touch", s.backend.Extend(ctx, sid, ttl))
}

func (s *recordStore) Save(ctx context.Context, sess Session) error {
	b, err := toSave(sess, func(raw []byte) (map[interface{}]interface{}, error) {
		values, _, err := s.codec.Decode(raw)
		return values, err
	})
	if err != nil {
		return s.fail("save", err)
	}
	_, err = s.commit(ctx, b, commit.Always)
	return err
}

func (s *recordStore) commit(ctx context.Context, b *BaseSession, when commit.Condition) (flash Flash, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()

	c := new(commit.Change)
	b.checkOut(s, when, c)
	committed := false // and stays so if the backend panics
	defer func() { b.checkIn(s, c, committed) }()
	if err = s.mayCommit(c); err == nil && c.MayWrite() {
		err = s.engine.Commit(ctx, c)
	}
	if committed = err == nil; committed {
		endOldest(ctx, s, c)
	}
	return c.Flash, s.fail("save", err)
}

func (s *recordStore) mayCommit(c *commit.Change) error {
	if err := s.checkSID(c.ID); err != nil {
		return err
	}
	return s.checkOwner(&c.Log)
}

// GC rests after each step for as long as the step took, so that the database works
// for GC for half of the time at most.
func (s *recordStore) GC(ctx context.Context) error {
	s.learnTime(ctx)
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

// fail says which step of which store failed. The result is nil if err is. What the error of a
// driver may hold, a backend has cut out: see foreignBackend.
func (s *recordStore) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return redact.New("session: "+s.name+": "+op+": "+err.Error(), err)
}
