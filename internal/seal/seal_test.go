package seal_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/flamego/session/internal/seal"
)

var (
	one, two = bytes.Repeat([]byte("1"), seal.KeySize), bytes.Repeat([]byte("2"), seal.KeySize)
	alice    = seal.DigestOf("alice0000000")
	bob      = seal.DigestOf("bob000000000")
)

func keys(t testing.TB, all ...[]byte) seal.Keys {
	t.Helper()
	k, err := seal.New(all)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSeal(t *testing.T) {
	for _, text := range []string{"", "a", strings.Repeat("text", 100)} {
		k := keys(t, one)
		sealed := k.Seal(alice, []byte(text))
		if len(sealed) != len(text)+seal.Overhead || sealed[0] != seal.First {
			t.Errorf("%d bytes of %d: % x", len(sealed), len(text), sealed[:1])
		}
		if len(text) > 1 && bytes.Contains(sealed, []byte("text")) {
			t.Error("the text can be read")
		}
		if again := k.Seal(alice, []byte(text)); bytes.Equal(again, sealed) {
			t.Error("the same bytes twice")
		}
		if got, by, err := k.Open(alice, sealed); string(got) != text || by != 0 || err != nil {
			t.Errorf("%q, %d, %v", got, by, err)
		}
		if _, _, err := k.Open(bob, sealed); !errors.Is(err, seal.ErrNoKey) {
			t.Errorf("the text of another session: %v", err)
		}
		for i := range sealed {
			for bit := range 8 {
				changed := bytes.Clone(sealed)
				changed[i] ^= 1 << bit
				if got, _, err := k.Open(alice, changed); err == nil {
					t.Fatalf("bit %d of byte %d was changed, and it opens: %q", bit, i, got)
				}
			}
			if got, _, err := k.Open(alice, sealed[:i]); err == nil {
				t.Fatalf("the first %d bytes open: %q", i, got)
			}
		}
	}
}

// What an earlier version has made of keys(one).
const (
	golden      = "9e5bbbba39500630432cf8b8e5e82e6539cadf7163fdf0aad76cd5fb91e0d49b055836"
	goldenOwner = "hmac:a986f72b89a2695e4bfd5308d83c5581706c60defe7b93b1dfaa62c236581b2a"
)

// TestFormat: what was sealed by an earlier version opens.
func TestFormat(t *testing.T) {
	sealed, err := hex.DecodeString(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := keys(t, one).Open(alice, sealed); string(got) != "golden" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got := keys(t, one).Owner(0, "7"); got != goldenOwner {
		t.Error(got)
	}
}

func TestRotation(t *testing.T) {
	plain, none := []byte("plain"), []byte(nil)
	bySecond := keys(t, two).Seal(alice, plain)
	for _, test := range []struct {
		keys   [][]byte
		sealed []byte
		by     int
		err    error
	}{
		{nil, plain, 0, nil},
		{[][]byte{none, one}, plain, 0, nil},
		{[][]byte{one, none}, plain, 1, nil},
		{[][]byte{one}, plain, 0, seal.ErrPlain},
		{[][]byte{one}, nil, 0, seal.ErrPlain},
		{[][]byte{one, two}, bySecond, 1, nil},
		{[][]byte{two, one}, bySecond, 0, nil},
		{[][]byte{none, two}, bySecond, 1, nil},
		{[][]byte{one}, bySecond, 0, seal.ErrNoKey},
	} {
		got, by, err := keys(t, test.keys...).Open(alice, test.sealed)
		if by != test.by || !errors.Is(err, test.err) || err == nil && !bytes.Equal(got, plain) {
			t.Errorf("%d keys: %q by %d, %v", len(test.keys), got, by, err)
		}
	}
	for _, first := range [][][]byte{nil, {none, one}} {
		if got := keys(t, first...).Seal(alice, plain); !bytes.Equal(got, plain) {
			t.Errorf("sealed where the first of %d keys is nil", len(first))
		}
	}
}

func TestOwner(t *testing.T) {
	k := keys(t, one, two, nil)
	a, b := k.Owner(0, "7"), k.Owner(1, "7")
	if a == b || strings.Contains(a, "7f3") || len(a) > 190 || k.Owner(2, "7") != "7" || k.Owner(0, "") != "" || k.Owner(0, "8") == a {
		t.Error(a, b)
	}
}

func TestNew(t *testing.T) {
	for _, test := range []struct {
		keys [][]byte
		want string
	}{
		{[][]byte{one[:31]}, "key 1 has 31 bytes, not 32"},
		{[][]byte{one, {}}, "key 2 has 0 bytes, not 32"},
		{[][]byte{one, two, one}, "key 3 is key 1 once more"},
		{[][]byte{nil, one, nil}, "key 3 is key 1 once more"},
	} {
		if _, err := seal.New(test.keys); err == nil || err.Error() != test.want {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	k, text := keys(b, one), bytes.Repeat([]byte("d"), 300)
	b.ReportAllocs()
	for b.Loop() {
		k.Seal(alice, text)
	}
}

func BenchmarkOpen(b *testing.B) {
	k := keys(b, one)
	sealed := k.Seal(alice, bytes.Repeat([]byte("d"), 300))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := k.Open(alice, sealed); err != nil {
			b.Fatal(err)
		}
	}
}
