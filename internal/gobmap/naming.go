package gobmap

import (
	"bytes"
	"encoding/gob"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
)

// A naming is what gob knows of one of the types that it does not register itself.
//
// Read and Write need no registration. Gob does, when a message is left to it, and only
// then is such a type registered, and no other. So an app may register these types as
// well, under names of its own, too: before the first session is read or saved.
type naming struct {
	typ    reflect.Type
	common *common

	registered sync.Once
	state      atomic.Int32
}

// The states of a naming. It is found out when the type is first met, and kept.
const (
	unknown int32 = iota
	usual         // gob has the type under the name that Write gives it, or not at all
	renamed       // gob has the type under a name of the app's
	taken         // gob has another type under the name
)

// get returns the state. If it is not the usual one, gob writes another message than
// Write, or none. So Write must leave it to gob: a process of the same app without this
// package reads only what gob writes. Read may take the usual name all the same, unless
// it is that of another type.
func (n *naming) get() int32 {
	if state := n.state.Load(); state != unknown {
		return state
	}
	return n.find()
}

func (n *naming) find() int32 {
	state := usual
	switch {
	case n.isTaken():
		state = taken
	case n.isRenamed():
		state = renamed
	}
	n.state.Store(state)
	return state
}

func (n *naming) zero() any { return reflect.Zero(n.typ).Interface() }

// isRenamed has gob write a value, and looks at the name.
func (n *naming) isRenamed() bool {
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode([]interface{}{n.zero()}); err != nil {
		return false // it is not registered
	}
	c := newCursor(buf.Bytes())
	c.typeSequence(false)
	c.zero()
	c.count()
	return string(c.bytes()) != n.typ.String()
}

// isTaken has gob read a value under the usual name, and looks at the type.
func (n *naming) isTaken() bool {
	w := newWriter()
	n.common.write(w, n.zero())
	w.byte(0)
	w.uint(uint64(w.len()))
	w.text(n.common.prefix)
	w.byte(0) // the key is nil
	w.begin(1, n.common.defs)
	m, err := plainDecode(w.buf[w.pos:])
	return err == nil && reflect.TypeOf(m[nil]) != n.typ
}

// register registers the type with gob, unless the app has done so. It does nothing if
// the app has registered the type under another name, or another type under this one.
func (n *naming) register() {
	n.registered.Do(func() {
		defer func() { _ = recover() }() // from the panic that a second name or type is for gob
		gob.Register(n.zero())
	})
}

// missing returns the type that gob says is not registered, nil if it is none of ours.
func missing(err error) *naming {
	for _, n := range unregistered {
		if strings.HasSuffix(err.Error(), "type not registered for interface: "+n.typ.String()) {
			return n
		}
	}
	return nil
}
