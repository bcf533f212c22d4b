package history

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/flamego/session"
)

// Deed is one thing that is done to a session.
type Deed struct{ Kind, Key, Val string }

// The kinds of deeds. Set and Delete have a key; Set, SetFlash and Add have a value.
const (
	Set      = "set"
	Delete   = "delete"
	SetFlash = "flash"
	Add      = "add"
	Flush    = "flush"
	Renew    = "regenerate"
	Destroy  = "destroy"
)

// Do does something to a session and notes it. What follows the end of a session counts for
// nothing, and is not noted as an effect.
func (s *Step) Do(d Deed, w http.ResponseWriter, r *http.Request, sess session.Session) error {
	switch d.Kind {
	case Destroy:
		err := session.Destroy(w, r, sess)
		s.Ended, s.Flushed, s.Keys, s.Added = true, false, make(map[string]string), nil
		s.Did = append(s.Did, d.Kind)
		return err
	case Renew:
		// It is refused for a session that is gone, which is as it should be.
		if err := sess.RegenerateID(w, r); err == nil {
			s.Did, s.Renewed = append(s.Did, d.Kind), true
		}
	case Flush:
		sess.Flush()
		s.Flushed, s.Keys, s.Added = !s.Ended, make(map[string]string), nil
		s.Did = append(s.Did, d.Kind)
	case SetFlash:
		sess.SetFlash(d.Val)
		s.note(FlashKey, d.Val)
	case Delete:
		if sess.Get(d.Key) != nil { // or else it is no change
			s.note(d.Key, "")
		}
		sess.Delete(d.Key)
	case Add:
		session.Update(sess, SumKey, func(sum string) string { return strings.TrimSpace(sum + " " + d.Val) })
		s.Did = append(s.Did, "add "+d.Val)
		if !s.Ended {
			s.Added = append(s.Added, d.Val)
		}
	case Set:
		sess.Set(d.Key, d.Val)
		s.note(d.Key, d.Val)
	default:
		return fmt.Errorf("there is no deed %q", d.Kind)
	}
	return nil
}

// note writes down a change; after the end of a session none counts.
func (s *Step) note(key, val string) {
	s.Did = append(s.Did, strings.TrimSuffix("set "+key+" = "+val, " = "))
	if !s.Ended {
		s.Keys[key] = val
	}
}

// look notes what a session holds.
func (s *Step) look(sess session.Session) {
	for _, key := range allKeys {
		if val := sess.Get(key); val != nil && key != FlashKey {
			s.Seen[key] = fmt.Sprint(val)
		}
	}
}

// expects returns what a handler finds under a key after its deeds.
func (s *Step) expects(key string) string {
	if key == SumKey {
		sum := s.Added
		if !s.Flushed {
			sum = append(values(key, s.Seen[key]), sum...)
		}
		return strings.Join(sum, " ")
	}
	val, ok := s.effect(key)
	if !ok && key != FlashKey {
		val = s.Seen[key]
	}
	return val
}
