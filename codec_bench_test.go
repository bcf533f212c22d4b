package session_test

import (
	"bytes"
	"encoding/gob"
	"testing"

	"github.com/flamego/session"
)

// The session of six small values through our codec and through plain gob.

func BenchmarkEncode(b *testing.B) {
	data := session.Data(fixtures["typical"])
	for name, encode := range map[string]session.Encoder{
		"ours": session.GobEncoder,
		"gob": func(data session.Data) ([]byte, error) {
			var buf bytes.Buffer
			err := gob.NewEncoder(&buf).Encode(data)
			return buf.Bytes(), err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var raw []byte
			for b.Loop() {
				var err error
				if raw, err = encode(data); err != nil {
					b.Fatal(err)
				}
			}
			requireSameData(b, data, plainDecode(b, raw))
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	raw := plainEncode(b, fixtures["typical"])
	for name, decode := range map[string]session.Decoder{
		"ours": session.GobDecoder,
		"gob": func(raw []byte) (session.Data, error) {
			data := make(session.Data)
			err := gob.NewDecoder(bytes.NewReader(raw)).Decode(&data)
			return data, err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var data session.Data
			for b.Loop() {
				var err error
				if data, err = decode(raw); err != nil {
					b.Fatal(err)
				}
			}
			requireSameData(b, fixtures["typical"], data)
		})
	}
}
