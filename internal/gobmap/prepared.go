package gobmap

import (
	"bytes"
	"encoding/gob"
	"sync"
)

// For a struct of six fields, gob takes four fifths of its time to compile the program that
// decodes it. A decoder has the program as long as it lives, but it refuses a message that
// defines the type once more. So a message is taken apart: a decoder that has read the same
// definitions before is given the value alone.

// prepared is a decoder that has read definitions.
type prepared struct {
	gob *gob.Decoder
	src bytes.Reader
}

// preparedFor has the decoders that are not in use, by the definitions that they have read.
var preparedFor struct {
	mu   sync.Mutex
	pool map[string]*sync.Pool
}

const (
	// maxPrepared is the length of a message up to which the time for a program counts. It also
	// bounds what an idle decoder holds, as gob keeps the bytes of the last message. (The garbage
	// collector takes decoders that stay idle.)
	maxPrepared = 16 << 10
	// maxDefinitions is how many different definitions there are decoders for. An app has one
	// for each set of types that a session holds. With more, all are let go, and made anew.
	maxDefinitions = 64
)

// poolFor returns the decoders that have read the definitions.
func poolFor(definitions []byte) *sync.Pool {
	p := &preparedFor
	p.mu.Lock()
	defer p.mu.Unlock()
	pool := p.pool[string(definitions)]
	if pool == nil {
		if p.pool == nil || len(p.pool) == maxDefinitions {
			p.pool = make(map[string]*sync.Pool)
		}
		pool = new(sync.Pool)
		p.pool[string(definitions)] = pool
	}
	return pool
}

// decodePrepared is plainDecode by a decoder that may have been used before. Each message is read
// into memory of its own, so a type that decodes itself may keep the bytes that gob gives to it.
func decodePrepared(raw []byte) (m map[interface{}]interface{}, err error) {
	defer recovered(&err)
	s, err := scan(raw, true)
	if err != nil {
		return nil, err
	}
	raw, _, err = s.message(s.pairs)
	if err != nil {
		return nil, err
	}
	c := newCursor(raw)
	c.begin() // no error: this message is ours
	pool := poolFor(raw[:c.start])
	d, ok := pool.Get().(*prepared)
	if ok {
		raw = raw[c.start:]
	} else {
		d = new(prepared)
		d.gob = gob.NewDecoder(&d.src)
	}
	d.src.Reset(raw)
	m = make(map[interface{}]interface{})
	if err = d.gob.Decode(&m); err != nil {
		return nil, err // and the decoder is of no use any more
	}
	pool.Put(d)
	return m, nil
}
