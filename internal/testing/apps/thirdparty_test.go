package apps_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/apps"
	"github.com/flamego/session/internal/testing/webapp"
)

// docStore is a store of an app as the existing library asks for one: encoded documents,
// an Initer with a Config, sessions made by NewBaseSession and NewBaseSessionWithData.
type docStore struct {
	lifetime time.Duration
	encoder  session.Encoder
	decoder  session.Decoder
	writeID  session.IDWriter

	mu   sync.Mutex
	docs map[string]doc
}

type doc struct {
	data      []byte
	expiredAt time.Time
}

// docSession embeds BaseSession, and adds to it.
type docSession struct {
	*session.BaseSession
	readAt time.Time
}

type docConfig struct{ Lifetime time.Duration }

func docIniter() session.Initer {
	return func(_ context.Context, args ...interface{}) (session.Store, error) {
		store := &docStore{
			encoder: session.GobEncoder,
			decoder: session.GobDecoder,
			docs:    make(map[string]doc),
		}
		for i := range args {
			switch v := args[i].(type) {
			case docConfig:
				store.lifetime = v.Lifetime
			case session.IDWriter:
				store.writeID = v
			}
		}
		if store.lifetime == 0 {
			return nil, fmt.Errorf("config object with the type '%T' not found", docConfig{})
		}
		if store.writeID == nil {
			return nil, errors.New("IDWriter not given")
		}
		return store, nil
	}
}

func (s *docStore) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.docs)
}

func (s *docStore) Exist(_ context.Context, sid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.docs[sid].expiredAt)
}

func (s *docStore) Read(_ context.Context, sid string) (session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.docs[sid]
	if !time.Now().Before(d.expiredAt) {
		return &docSession{session.NewBaseSession(sid, s.encoder, s.writeID), time.Now()}, nil
	}
	data, err := s.decoder(d.data)
	if err != nil {
		return nil, err
	}
	return &docSession{session.NewBaseSessionWithData(sid, s.encoder, s.writeID, data), time.Now()}, nil
}

func (s *docStore) Destroy(_ context.Context, sid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.docs, sid)
	return nil
}

func (s *docStore) Touch(_ context.Context, sid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, ok := s.docs[sid]; ok {
		s.docs[sid] = doc{d.data, time.Now().Add(s.lifetime)}
	}
	return nil
}

func (s *docStore) Save(_ context.Context, sess session.Session) error {
	if len(sess.ID()) < 3 {
		return session.ErrMinimumSIDLength
	}
	data, err := sess.Encode()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.docs[sess.ID()] = doc{data, time.Now().Add(s.lifetime)}
	return nil
}

func (s *docStore) GC(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.docs, func(_ string, d doc) bool { return !time.Now().Before(d.expiredAt) })
	return nil
}

// plainSession has nothing of the library's.
type plainSession struct {
	writeID session.IDWriter

	mu      sync.Mutex
	sid     string
	data    session.Data
	changed bool
}

var _ session.Session = (*plainSession)(nil)

func (s *plainSession) ID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sid
}

func (s *plainSession) RegenerateID(w http.ResponseWriter, r *http.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sid, s.changed = strings.ToLower(rand.Text()[:16]), true
	s.writeID(w, r, s.sid)
	return nil
}

func (s *plainSession) Get(key interface{}) interface{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data[key]
}

func (s *plainSession) Set(key, val interface{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data[key], s.changed = val, true
}

func (s *plainSession) SetFlash(val interface{}) { s.Set("flamego::session::flash", val) }

func (s *plainSession) Delete(key interface{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.data, key)
	s.changed = true
}

func (s *plainSession) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data, s.changed = session.Data{}, true
}

func (s *plainSession) Encode() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return session.GobEncoder(s.data)
}

func (s *plainSession) HasChanged() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// plainStore keeps the values of plainSessions.
type plainStore struct {
	writeID session.IDWriter

	mu   sync.Mutex
	data map[string]session.Data
}

func plainIniter(_ context.Context, args ...interface{}) (session.Store, error) {
	store := &plainStore{data: make(map[string]session.Data)}
	for i := range args {
		if w, ok := args[i].(session.IDWriter); ok {
			store.writeID = w
		}
	}
	return store, nil
}

func (s *plainStore) Exist(_ context.Context, sid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.data[sid]
	return ok
}

func (s *plainStore) Read(_ context.Context, sid string) (session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data := maps.Clone(s.data[sid])
	if data == nil {
		data = session.Data{}
	}
	return &plainSession{sid: sid, data: data, writeID: s.writeID}, nil
}

func (s *plainStore) Destroy(_ context.Context, sid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.data, sid)
	return nil
}

func (s *plainStore) Touch(context.Context, string) error { return nil }
func (s *plainStore) GC(context.Context) error            { return nil }

func (s *plainStore) Save(_ context.Context, sess session.Session) error {
	p := sess.(*plainSession)
	p.mu.Lock()
	defer p.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data[p.sid] = maps.Clone(p.data)
	p.changed = false
	return nil
}

// Handlers may ask for the session, and a store of the app, by the types that these
// have.
func TestConcreteTypes(t *testing.T) {
	visit := func(opts session.Options, routes func(f *flamego.Flame)) {
		f := apps.New(opts)
		routes(f)
		b := webapp.Connect(t, apps.Serve(t, f))
		apps.Get(t, b, "/set", "Succeed")
		apps.Get(t, b, "/type", "123")
	}
	for _, opts := range []session.Options{
		{},
		{Initer: session.FileIniter(), Config: session.FileConfig{RootDir: t.TempDir()}},
	} {
		visit(opts, func(f *flamego.Flame) {
			f.Get("/type", func(s *session.BaseSession) string { return fmt.Sprint(s.Get("user_id")) })
		})
	}
	visit(session.Options{Initer: docIniter(), Config: docConfig{Lifetime: time.Minute}}, func(f *flamego.Flame) {
		f.Get("/type", func(store *docStore, s *docSession) string {
			require.Equal(t, 1, store.Len())
			require.False(t, s.readAt.IsZero())
			return fmt.Sprint(s.Get("user_id"))
		})
	})
	visit(session.Options{Initer: plainIniter}, func(f *flamego.Flame) {
		f.Get("/type", func(s *plainSession) string { return fmt.Sprint(s.Get("user_id")) })
	})
}

// An Initer that fails ends the program, with its own words.
func TestIniterFails(t *testing.T) {
	require.Equal(t, "session: config object with the type 'apps_test.docConfig' not found", apps.Panic(func() {
		session.Sessioner(session.Options{Initer: docIniter()})
	}))
}
