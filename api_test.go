package session_test

import (
	"context"
	"database/sql"
	"io"
	"net/http"
	"time"

	redisdriver "github.com/go-redis/redis/v8"
	mongodriver "go.mongodb.org/mongo-driver/mongo"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/mongo"
	"github.com/flamego/session/mysql"
	"github.com/flamego/session/postgres"
	"github.com/flamego/session/postgres/anydriver"
	"github.com/flamego/session/redis"
	"github.com/flamego/session/redis/anyclient"
	"github.com/flamego/session/sqlite"
)

// This file uses every name of the contract the way an app does. It is there to
// be compiled: a name, type or field that changes breaks the build.

// appStore is a store of an app's own: the six methods, and a session that
// embeds BaseSession.
type appStore struct {
	write session.IDWriter
}

type appSession struct {
	*session.BaseSession
}

func (s *appStore) Exist(context.Context, string) bool { return false }

func (s *appStore) Read(_ context.Context, sid string) (session.Session, error) {
	if len(sid) < 3 {
		return nil, session.ErrMinimumSIDLength
	}
	var encoder session.Encoder = session.GobEncoder
	return &appSession{session.NewBaseSession(sid, encoder, s.write)}, nil
}

func (s *appStore) Destroy(context.Context, string) error       { return nil }
func (s *appStore) Touch(context.Context, string) error         { return nil }
func (s *appStore) Save(context.Context, session.Session) error { return nil }
func (s *appStore) GC(context.Context) error                    { return nil }

var (
	_ session.Store    = (*appStore)(nil)
	_ session.Session  = (*appSession)(nil)
	_ session.Session  = (*session.BaseSession)(nil)
	_ session.Initer   = func(context.Context, ...interface{}) (session.Store, error) { return &appStore{}, nil }
	_ session.IDWriter = func(http.ResponseWriter, *http.Request, string) {}
	_ session.Encoder  = session.GobEncoder
	_ session.Decoder  = session.GobDecoder
	_ io.Closer        = (*session.Manager)(nil)
	_ error            = session.ErrMinimumSIDLength

	_ func(...session.Options) flamego.Handler           = session.Sessioner
	_ func(...session.Options) (*session.Manager, error) = session.New

	_ func(string, session.Encoder, session.IDWriter) *session.BaseSession               = session.NewBaseSession
	_ func(string, session.Encoder, session.IDWriter, session.Data) *session.BaseSession = session.NewBaseSessionWithData

	_ func() session.Initer = session.MemoryIniter
	_ func() session.Initer = session.FileIniter
	_ func() session.Initer = postgres.Initer
	_ func() session.Initer = anydriver.Initer
	_ func() session.Initer = mysql.Initer
	_ func() session.Initer = sqlite.Initer
	_ func() session.Initer = redis.Initer
	_ func() session.Initer = mongo.Initer

	_ func(session.Session, interface{}) (int, bool)    = session.Value[int]
	_ func(session.Session, interface{}) (int, bool)    = session.Pop[int]
	_ func(session.Session, interface{}, func(int) int) = session.Update[int]

	_ func(session.Session, time.Duration) error = session.SetLifetime
	_ func(session.Session) time.Time            = session.IssuedAt

	_ func(context.Context, session.Store, interface{}) ([]session.Info, error)       = session.Owned
	_ func(context.Context, session.Store, interface{}, string) (bool, error)         = session.End
	_ func(context.Context, session.Store, interface{}, session.Session) (int, error) = session.EndOwned
	_ func(session.Session) string                                                    = session.Handle
	_ session.Info                                                                    = session.Info{Handle: "", Issued: time.Time{}, Seen: time.Time{}, Expires: time.Time{}, Data: session.Data{}}

	_ session.OwnerIndex  = ownerBackend{}
	_ session.OwnerIniter = ownerBackend{}

	_ func(session.Backend, session.StoreConfig) session.Store = session.NewStore

	_ func(http.ResponseWriter, *http.Request, session.Session) error = session.Destroy

	_ func(func(context.Context, int) (session.Backend, session.StoreConfig, error)) session.Initer = session.NewIniter[int]
)

// everyOption sets every field of the configurations.
func everyOption() []session.Options {
	configs := []interface{}{
		session.MemoryConfig{Lifetime: time.Hour},
		session.FileConfig{
			Lifetime: time.Hour, RootDir: "sessions",
			Encoder: session.GobEncoder, Decoder: session.GobDecoder, MaxDataSize: 1 << 20,
		},
		postgres.Config{
			Lifetime: time.Hour, DSN: "postgres://", Table: "sessions",
			Encoder: session.GobEncoder, Decoder: session.GobDecoder, InitTable: true,
			DB: (*sql.DB)(nil), MaxDataSize: 1 << 20, MaxConns: 16,
		},
		mysql.Config{
			Lifetime: time.Hour, DSN: "/", Table: "sessions",
			Encoder: session.GobEncoder, Decoder: session.GobDecoder, InitTable: true,
			DB: (*sql.DB)(nil), MaxDataSize: 1 << 20, MaxConns: 16, Location: time.UTC,
		},
		sqlite.Config{
			Lifetime: time.Hour, DSN: "app.db", Table: "sessions",
			Encoder: session.GobEncoder, Decoder: session.GobDecoder, InitTable: true,
			DB: (*sql.DB)(nil), MaxDataSize: 1 << 20, MaxConns: 16,
		},
		anydriver.Config{
			Lifetime: time.Hour, DB: (*sql.DB)(nil), Table: "sessions",
			Encoder: session.GobEncoder, Decoder: session.GobDecoder, InitTable: true, MaxDataSize: 1 << 20,
		},
		redis.Config{
			Client:  redisdriver.NewClient(&redis.Options{Addr: "127.0.0.1:6379"}),
			Options: &redis.Options{Addr: "127.0.0.1:6379", DB: 15}, KeyPrefix: "session:", Lifetime: time.Hour,
			Encoder: session.GobEncoder, Decoder: session.GobDecoder, MaxDataSize: 1 << 20,
		},
		redis.Config{Client: redisdriver.UniversalClient(nil), NoKeyPrefix: true},
		anyclient.Config{
			Eval:    func(context.Context, string, []string, ...string) (any, error) { return nil, nil },
			Cluster: true, KeyPrefix: "", NoKeyPrefix: false, Lifetime: 0,
			Encoder: session.GobEncoder, Decoder: session.GobDecoder, MaxDataSize: 0,
		},
		mongo.Config{
			Options: &mongo.Options{}, Database: "test", Collection: "sessions", Lifetime: time.Hour,
			Encoder: session.GobEncoder, Decoder: session.GobDecoder,
			Client: (*mongodriver.Client)(nil), MaxDataSize: 1 << 20,
		},
	}
	var all []session.Options
	for _, config := range configs {
		all = append(all, session.Options{
			Initer: session.MemoryIniter(),
			Config: config,
			Cookie: session.CookieOptions{
				Name: "flamego_session", Path: "/", Domain: "", MaxAge: 0, Secure: false, HTTPOnly: true,
				SameSite: http.SameSiteLaxMode, Partitioned: false, AllowScript: false, WhenStored: false,
			},
			IDLength:    16,
			GCInterval:  5 * time.Minute,
			Timeout:     5 * time.Second,
			ErrorFunc:   func(error) {},
			ReadIDFunc:  func(*http.Request) string { return "" },
			WriteIDFunc: func(http.ResponseWriter, *http.Request, string, bool) {},

			TouchInterval:   time.Minute,
			AdoptUnknownIDs: false,
			FlashFor:        func(*http.Request) bool { return true },

			MaxLifetime:   24 * time.Hour,
			FirstLifetime: time.Minute,
			TouchFor:      func(*http.Request) bool { return true },
			OwnerKey:      "user_id",
			MaxOwned:      3,
			FailFunc:      func(http.ResponseWriter, *http.Request) {},
		})
	}
	return all
}

// everyMethod uses a session, store and flash as handlers do.
func everyMethod(w http.ResponseWriter, r *http.Request, s session.Session, store session.Store, flash session.Flash) error {
	s.Set("key", 1)
	s.SetFlash("flash")
	s.Delete("key")
	s.Flush()
	_ = s.ID()
	_ = s.Get("key")
	_ = s.HasChanged()
	if _, err := s.Encode(); err != nil {
		return err
	}
	if err := s.RegenerateID(w, r); err != nil {
		return err
	}
	_, _ = flash.(string)
	ctx := r.Context()
	if store.Exist(ctx, s.ID()) {
		return store.Destroy(ctx, s.ID())
	}
	if _, err := store.Read(ctx, s.ID()); err != nil {
		return err
	}
	if err := store.Touch(ctx, s.ID()); err != nil {
		return err
	}
	if err := store.Save(ctx, s); err != nil {
		return err
	}
	return store.GC(ctx)
}

// everyManagerMethod uses the middleware with a handle.
func everyManagerMethod() error {
	m, err := session.New()
	if err != nil {
		return err
	}
	var _ flamego.Handler = m.Handler()
	var _ session.Store = m.Store()
	return m.Close()
}

// everyBackendMethod uses a backend as a store does.
func everyBackendMethod(ctx context.Context, b session.Backend) {
	rec := session.Record{Data: []byte{}, TTL: time.Hour, Owner: "", Former: ""}
	_, _, _ = b.Load(ctx, "sid")
	_, _ = b.Insert(ctx, "sid", rec)
	_, _ = b.Swap(ctx, "sid", rec.Data, rec)
	_, _ = b.Rename(ctx, "sid", "new", rec.Data, rec)
	_ = b.Extend(ctx, "sid", time.Hour)
	_ = b.Delete(ctx, "sid")
	_, _ = b.Sweep(ctx)
}

// ownerBackend is what a backend has that finds the records of an owner.
type ownerBackend struct{}

func (ownerBackend) InitOwners(context.Context) error { return nil }

func (ownerBackend) Owned(context.Context, string) ([]session.OwnedRecord, error) {
	return []session.OwnedRecord{{ID: "sid", Record: session.Record{}}}, nil
}

var (
	_ = everyBackendMethod
	_ = everyOption
	_ = everyMethod
	_ = everyManagerMethod
)
