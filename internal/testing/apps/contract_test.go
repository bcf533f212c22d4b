package apps_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/mongo"
	"github.com/flamego/session/mysql"
	"github.com/flamego/session/postgres"
	"github.com/flamego/session/redis"
	"github.com/flamego/session/sqlite"
)

// The types of the contract, exactly: that an app can use the names, as in the root's
// api_test.go, does not show that a method was added or that a field has another type.

const (
	sessionMethods = `
		Delete func(interface {})
		Encode func() ([]uint8, error)
		Flush func()
		Get func(interface {}) interface {}
		HasChanged func() bool
		ID func() string
		RegenerateID func(http.ResponseWriter, *http.Request) error
		Set func(interface {}, interface {})
		SetFlash func(interface {})`
	storeMethods = `
		Destroy func(context.Context, string) error
		Exist func(context.Context, string) bool
		GC func(context.Context) error
		Read func(context.Context, string) (session.Session, error)
		Save func(context.Context, session.Session) error
		Touch func(context.Context, string) error`
	sqlFields = `
		Lifetime time.Duration
		DSN string
		Table string
		Encoder session.Encoder
		Decoder session.Decoder
		InitTable bool`
)

// An interface that gets a method breaks every app that implements it.
func TestContractInterfaces(t *testing.T) {
	for want, iface := range map[string]reflect.Type{
		sessionMethods: reflect.TypeFor[session.Session](),
		storeMethods:   reflect.TypeFor[session.Store](),
		"":             reflect.TypeFor[session.Flash](),
	} {
		var got []string
		for i := range iface.NumMethod() {
			got = append(got, iface.Method(i).Name+" "+iface.Method(i).Type.String())
		}
		require.Equal(t, lines(want), got, iface.String())
	}
}

// A struct may get fields; those of the contract stay as they are.
func TestContractFields(t *testing.T) {
	for _, test := range []struct {
		of   interface{}
		want string
	}{
		{session.Options{}, `
			Initer session.Initer
			Config interface {}
			Cookie session.CookieOptions
			IDLength int
			GCInterval time.Duration
			ErrorFunc func(error)
			ReadIDFunc func(*http.Request) string
			WriteIDFunc func(http.ResponseWriter, *http.Request, string, bool)`},
		{session.CookieOptions{}, `
			Name string
			Path string
			Domain string
			MaxAge int
			Secure bool
			HTTPOnly bool
			SameSite http.SameSite`},
		{session.MemoryConfig{}, `
			Lifetime time.Duration`},
		{session.FileConfig{}, `
			Lifetime time.Duration
			RootDir string
			Encoder session.Encoder
			Decoder session.Decoder`},
		{postgres.Config{}, sqlFields},
		{mysql.Config{}, sqlFields},
		{sqlite.Config{}, sqlFields},
		{redis.Config{}, `
			Options *redis.Options
			KeyPrefix string
			Lifetime time.Duration
			Encoder session.Encoder
			Decoder session.Decoder`},
		{mongo.Config{}, `
			Options *options.ClientOptions
			Database string
			Collection string
			Lifetime time.Duration
			Encoder session.Encoder
			Decoder session.Decoder`},
	} {
		typ := reflect.TypeOf(test.of)
		for _, want := range lines(test.want) {
			name, _, _ := strings.Cut(want, " ")
			field, ok := typ.FieldByName(name)
			require.True(t, ok, "%s.%s is gone", typ, name)
			require.Equal(t, want, field.Name+" "+field.Type.String(), typ.String())
		}
	}
}

// The other names, the functions with their results.
func TestContractNames(t *testing.T) {
	const initer = "func() session.Initer"
	for _, test := range []struct {
		want string
		of   interface{}
	}{
		{"func(...session.Options) flamego.Handler", session.Sessioner},
		{"func(string, session.Encoder, session.IDWriter) *session.BaseSession", session.NewBaseSession},
		{"func(string, session.Encoder, session.IDWriter, session.Data) *session.BaseSession", session.NewBaseSessionWithData},
		{"func(session.Data) ([]uint8, error)", session.GobEncoder},
		{"func([]uint8) (session.Data, error)", session.GobDecoder},
		{initer, session.MemoryIniter},
		{initer, session.FileIniter},
		{initer, postgres.Initer},
		{initer, mysql.Initer},
		{initer, sqlite.Initer},
		{initer, redis.Initer},
		{initer, mongo.Initer},
	} {
		require.Equal(t, test.want, reflect.TypeOf(test.of).String())
	}
	for _, test := range []struct {
		want string
		of   interface{}
	}{
		{"func(context.Context, ...interface {}) (session.Store, error)", session.Initer(nil)},
		{"func(http.ResponseWriter, *http.Request, string)", session.IDWriter(nil)},
		{"func(session.Data) ([]uint8, error)", session.Encoder(nil)},
		{"func([]uint8) (session.Data, error)", session.Decoder(nil)},
		{"map[interface {}]interface {}", session.Data(nil)},
	} {
		require.Equal(t, test.want, underlying(reflect.TypeOf(test.of)))
	}
	require.Equal(t, reflect.Struct, reflect.TypeFor[session.BaseSession]().Kind())
	require.Equal(t, "github.com/go-redis/redis/v8", reflect.TypeFor[redis.Options]().PkgPath(), "an alias")
	require.Equal(t, "go.mongodb.org/mongo-driver/mongo/options", reflect.TypeFor[mongo.Options]().PkgPath(), "an alias")
	require.EqualError(t, session.ErrMinimumSIDLength, "the SID does not have the minimum required length 3")
}

func lines(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// underlying describes the type that a named function or map type is made of.
func underlying(typ reflect.Type) string {
	if typ.Kind() == reflect.Map {
		return fmt.Sprintf("map[%v]%v", typ.Key(), typ.Elem())
	}
	var in, out []reflect.Type
	for i := range typ.NumIn() {
		in = append(in, typ.In(i))
	}
	for i := range typ.NumOut() {
		out = append(out, typ.Out(i))
	}
	return reflect.FuncOf(in, out, typ.IsVariadic()).String()
}
