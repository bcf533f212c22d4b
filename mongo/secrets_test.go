package mongo_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/counting"
	"github.com/flamego/session/mongo"
)

// urisWithCanary have a password that is not escaped, or a canary elsewhere.
var urisWithCanary = []string{
	"mongodb://app:p@QZCANARY/x@127.0.0.1:1/",
	"mongodb://app:p@QZCANARY:1/x@127.0.0.1:1/",
	"mongodb://app:p@QZCANARY@127.0.0.1:1/",
	"mongodb://app:p:QZCANARY@127.0.0.1:1/",
	"mongodb://app:%QZCANARY@127.0.0.1:1/",
	"mongodb://app:p/QZCANARY@127.0.0.1:1/",
	"mongodb://app:p?QZCANARY@127.0.0.1:1/",
	"mongodb://app:p@127.0.0.1:QZCANARY",
	"mongodb://app:p@[QZCANARY",
	"mongodb://app:p@a:b:QZCANARY/",
	"mongodb://QZCANARY:p@127.0.0.1:1/?authMechanism=QZCANARY",
	"mongodb://127.0.0.1:1/?authMechanism=QZCANARY",
	"mongodb://127.0.0.1:1/%QZCANARY",
	"mongodb://127.0.0.1:1/QZCANARY$",
	"mongodb://127.0.0.1:1/?QZCANARY",
	"mongodb://127.0.0.1:1/?%QZCANARY=1",
	"mongodb://127.0.0.1:1/?a=%QZCANARY",
	"mongodb://127.0.0.1:1/?w=-1&QZCANARY=1",
	"mongodb://127.0.0.1:1/?maxPoolSize=QZCANARY",
	"mongodb://127.0.0.1:1/?directConnection=QZCANARY&connect=QZCANARY",
	"mongodb://127.0.0.1:1/?compressors=QZCANARY&zlibCompressionLevel=QZCANARY",
	"mongodb://127.0.0.1:1/?tls=true&tlsCAFile=/QZCANARY",
	"mongodb://127.0.0.1:1/?tls=true&tlsCertificateKeyFile=/QZCANARY&tlsCertificateKeyFilePassword=QZCANARY",
	"mongodb://127.0.0.1:1/?readPreference=QZCANARY",
	"mongodb://127.0.0.1:1/?serverMonitoringMode=QZCANARY",
	"mongodb+srv://app:p@QZCANARY/x@127.0.0.1/",
	"mongodb+srv://app:p@QZCANARY.s.invalid/x@127.0.0.1/",
	"mongodb+srv://app:p@a,QZCANARY",
	"QZCANARY://127.0.0.1",
}

// No part of a URI is in an error, however it is shown.
func TestURIsAreNotShown(t *testing.T) {
	t.Parallel()
	for _, uri := range urisWithCanary {
		t.Run(strings.ReplaceAll(uri, "/", "|"), func(t *testing.T) {
			t.Parallel()
			_, _, err := mongo.Open(deadline(t, time.Second), mongo.Config{Options: options.Client().ApplyURI(uri), Database: "db"})
			require.Error(t, err)
			t.Log(err)
			assert.NotEqual(t, "mongo: connect: the driver has failed", err.Error())
			counting.NotShown(t, err, "QZ", "CANARY", "127.0.0.1")
		})
	}
}

func FuzzURI(f *testing.F) {
	for _, uri := range urisWithCanary {
		if !strings.HasPrefix(uri, "mongodb+srv") {
			f.Add(uri)
		}
	}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	f.Fuzz(func(t *testing.T, uri string) {
		if strings.HasPrefix(uri, "mongodb+srv") || strings.Contains(strings.ToLower(uri), "file=") {
			return // asks DNS, or reads a file
		}
		config := mongo.Config{Options: options.Client().ApplyURI(uri), Database: "db"}
		if config.Options.Validate() == nil {
			return // would ask DNS, too
		}
		_, _, err := mongo.Open(done, config)
		if err == nil {
			t.Fatal("no error")
		}
		counting.NotShown(t, err, "QZ", "CANARY")
	})
}

// Whatever a server says about a command, it is not shown: it quotes keys and data.
func TestServerErrorsAreNotShown(t *testing.T) {
	t.Parallel()
	const canary = "qzcanary0123456"
	quoted := "cannot do {key: '" + canary + "', data: '" + canary + "'}"
	details := bson.D{{Key: "op", Value: canary}}
	for name, test := range map[string]struct {
		answer bson.D
		want   string
	}{
		"refused": {
			bson.D{{Key: "errmsg", Value: quoted}, {Key: "code", Value: 13}, {Key: "codeName", Value: canary}},
			"the server has refused the command: Unauthorized (code 13): the user has no right to do this in the Database",
		},
		"unknown code": {
			bson.D{{Key: "errmsg", Value: quoted}, {Key: "code", Value: 424242}},
			"the server has refused the command: code 424242",
		},
		"no code": {
			bson.D{{Key: "errmsg", Value: quoted}},
			"the server has refused the command",
		},
		"document": {
			bson.D{{Key: "ok", Value: 1.0}, {Key: "n", Value: 0}, {Key: "writeErrors", Value: bson.A{bson.D{
				{Key: "index", Value: 0}, {Key: "code", Value: 121}, {Key: "errmsg", Value: quoted}, {Key: "errInfo", Value: details},
			}}}},
			"the server has refused the command: DocumentValidationFailure (code 121)",
		},
		"write concern": {
			bson.D{{Key: "ok", Value: 1.0}, {Key: "n", Value: 1}, {Key: "nModified", Value: 1}, {Key: "writeConcernError", Value: bson.D{
				{Key: "code", Value: 64}, {Key: "codeName", Value: canary}, {Key: "errmsg", Value: quoted}, {Key: "errInfo", Value: details},
			}}},
			"the write concern was not met: WriteConcernFailed (code 64)",
		},
		"not BSON": {nil, "the answer of the server cannot be understood"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := test.answer
			if len(answer) > 0 && answer[0].Key != "ok" {
				answer = append(bson.D{{Key: "ok", Value: 0.0}}, answer...)
			}
			_, config := ruled(t, refusing{"update", func(io.Reader) bool { return true }, answer}.rules(t))
			b := openBackend(t, config)
			for op, call := range backendtest.Operations(b) {
				if op == "load" || op == "delete" {
					continue // are no updates
				}
				err := call(deadline(t, 10*time.Second))
				require.EqualError(t, err, test.want, op)
				counting.NotShown(t, err, canary)
			}
		})
	}
}

// Nothing of a session is in any document.
func TestKeysAtRest(t *testing.T) {
	t.Parallel()
	backendtest.AtRest(t, func(t testing.TB) (session.Options, func() []byte) {
		config := testConfig(t)
		coll := bare(t, config)
		return session.Options{Initer: mongo.Initer(), Config: config}, func() (all []byte) {
			cursor, err := coll.Find(t.Context(), bson.D{})
			require.NoError(t, err)
			defer func() { _ = cursor.Close(t.Context()) }()
			for cursor.Next(t.Context()) {
				all = append(all, cursor.Current...)
			}
			require.NoError(t, cursor.Err())
			return all
		}
	})
}
