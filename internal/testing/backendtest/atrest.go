package backendtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/counting"
	"github.com/flamego/session/internal/testing/webapp"
)

// What must be nowhere in a database, nor in an error: values of a session, with their keys and
// the flash, its owner, and the keys of the app.
var (
	canaryValues = []string{"qzcanaryvalue", "qzcanaryname", "qzcanaryflash"}
	canaryOwner  = "qzcanaryowner"
	canaryKeys   = []string{"qzcanarykey-one-of-thirty-two-by", "qzcanarykey-two-of-thirty-two-by"}
)

// AtRest checks that with Keys and HashIDs nothing of a session, and no ID, can be read where it is stored,
// and nothing of it or of the keys in the errors. Open opens stores on storage of its own. The function stored returns
// all bytes there, read past the store.
//
// Without them it finds the canaries: so it knows that it looks in the right place.
func AtRest(t *testing.T, open func(t testing.TB) (opts session.Options, stored func() []byte)) {
	t.Run("plain", func(t *testing.T) {
		opts, stored := open(t)
		seen := make(map[string]bool)
		a := newSecretApp(t, opts)
		a.visit(func(sids []string) {
			raw := stored()
			a.want(raw, sids...)
			for _, canary := range append(canaryValues, canaryOwner) {
				if shows(raw, canary) {
					seen[canary] = true
				}
			}
		})
		if len(seen) != len(canaryValues)+1 {
			t.Errorf("without keys only these are seen: %v", seen)
		}
	})
	t.Run("sealed", func(t *testing.T) {
		opts, stored := open(t)
		for _, key := range canaryKeys {
			opts.Keys = append(opts.Keys, []byte(key))
		}
		opts.HashIDs = session.HashOnly
		a := newSecretApp(t, opts)
		a.visit(func(sids []string) {
			raw := stored()
			for _, sid := range sids {
				a.want(raw, keyOf(sid))
			}
			for _, canary := range append(append(append(canaryValues, canaryOwner), canaryKeys...), sids...) {
				if shows(raw, canary) {
					t.Errorf("%s can be read where it is stored", canary)
				}
			}
		})
		a.fail(opts)
	})
}

// FilesOf returns the names and the contents of all files below a folder.
func FilesOf(t testing.TB, dir string) (all []byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		all = append(append(append(all, path...), '\n'), raw...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// shows reports whether bytes show a text, as it is or in one of its other forms.
func shows(raw []byte, text string) bool {
	for _, form := range forms(text) {
		if bytes.Contains(raw, []byte(form)) {
			return true
		}
	}
	return false
}

// forms are a text as it is, in hexadecimal, as package fmt shows bytes, and in base64, whatever
// stands before it there.
func forms(text string) []string {
	raw := []byte(text)
	all := []string{text, hex.EncodeToString(raw), fmt.Sprintf("%X", raw), strings.Trim(fmt.Sprint(raw), "[]")}
	for before := range 3 {
		// What depends on the bytes before the text and after it is cut off.
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", before) + text))
		encoded = encoded[(before*8+5)/6:]
		if more := (before + len(text)) % 3; more > 0 {
			encoded = encoded[:len(encoded)-1]
		}
		all = append(all, encoded, strings.NewReplacer("+", "-", "/", "_").Replace(encoded))
	}
	return all
}

type secretApp struct {
	*webapp.App
	testing.TB
	visitor *webapp.Browser
	hidden  []string // what no error may show
}

func newSecretApp(t testing.TB, opts session.Options) *secretApp {
	t.Helper()
	opts.OwnerKey = "user"
	a := &secretApp{App: webapp.New(t, opts), TB: t}
	a.visitor = webapp.NewBrowser(t, a.App)
	type unregistered struct{ Text string }
	a.Get("/login", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
		s.Set("user", canaryOwner)
		s.Set(canaryValues[1], canaryValues[0])
		return s.RegenerateID(w, r)
	})
	a.Get("/flash", func(s session.Session) { s.SetFlash(canaryValues[2]) })
	a.Get("/see", func(s session.Session) string {
		text, _ := s.Get(canaryValues[1]).(string)
		return text
	})
	a.Get("/change", func(s session.Session) { s.Set("n", canaryValues[0]) })
	a.Get("/renew", func(w http.ResponseWriter, r *http.Request, s session.Session) error { return s.RegenerateID(w, r) })
	a.Get("/large", func(s session.Session) { s.Set("large", strings.Repeat(canaryValues[0], 1<<17)) })
	a.Get("/unregistered", func(s session.Session) { s.Set("type", unregistered{canaryValues[0]}) })
	return a
}

// get requests a page, and returns the ID that the visitor has then.
func (a *secretApp) get(path string) string {
	a.visitor.Get(path)
	_, sid, _ := strings.Cut(a.visitor.Cookie, "=")
	a.hidden = append(a.hidden, sid, keyOf(sid))
	return sid
}

// visit makes requests, and looks at what is stored after each of them.
func (a *secretApp) visit(look func(sids []string)) {
	for range 2 {
		a.visitor.Cookie = ""
		for _, path := range []string{"/login", "/flash", "/see", "/change", "/see", "/renew"} {
			look([]string{a.get(path)})
		}
	}
	if got := a.visitor.Get("/see").Body.String(); got != canaryValues[0] {
		a.Errorf("the session has the value %q", got)
	}
	for _, err := range a.TakeErrors() {
		a.Error(err)
	}
}

// keyOf is what stands for an ID with HashIDs.
func keyOf(sid string) string { return fmt.Sprintf("h%x", sha256.Sum256([]byte(sid))) }

// want checks that the sessions are in the bytes at all.
func (a *secretApp) want(raw []byte, keys ...string) {
	a.Helper()
	for _, key := range keys {
		if !bytes.Contains(raw, []byte(key)) {
			a.Error("the session is not where it is looked for")
		}
	}
}

// fail causes each error that keys and data can cause, and looks whether it shows a secret.
func (a *secretApp) fail(opts session.Options) {
	a.Helper()
	for _, secret := range append(append(canaryValues, canaryOwner), canaryKeys...) {
		a.hidden = append(a.hidden, forms(secret)...)
	}
	sees := func(b *secretApp, path string) {
		b.get(path)
		errs := b.TakeErrors()
		if len(errs) == 0 {
			a.Errorf("%s: no error", path)
		}
		for _, err := range errs {
			counting.NotShown(a, err, a.hidden...)
		}
	}
	sees(a, "/large")
	sees(a, "/unregistered")
	// No keys, a wrong key, and plain data only: nobody can read the session.
	for _, keys := range [][][]byte{nil, {[]byte("qzcanarykey of somebody else....")}, {nil}} {
		opts := opts
		opts.Keys = keys
		other := newSecretApp(a, opts)
		other.visitor.Cookie = a.visitor.Cookie
		sees(other, "/see")
	}
	// A key that is too short, and a key twice.
	for _, keys := range [][][]byte{{[]byte(canaryKeys[0][1:])}, {[]byte(canaryKeys[0]), []byte(canaryKeys[0])}} {
		opts := opts
		opts.Keys = keys
		m, err := session.New(opts)
		if err == nil {
			_ = m.Close()
			a.Fatal("keys that cannot be are taken")
		}
		counting.NotShown(a, err, append(a.hidden, forms(canaryKeys[0][1:])...)...)
	}
}
