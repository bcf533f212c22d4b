package session

import "maps"

// changes is the log of what a request did to a session: enough to do it again
// on other data, and nothing that it did not do.
type changes struct {
	renewed bool // the ID is new
	flushed bool // all keys that are not in keys were removed
	ended   bool // the session was destroyed: nothing that follows counts
	count   int  // how many changes there were
	keys    Data // the values that were set; deleted for keys that were removed
}

// deleted stands in a log for a key that was removed.
var deleted interface{} = new(struct{ _ byte })

func (c *changes) put(key, val interface{}) {
	if c.ended {
		return
	}
	c.count++
	if c.keys == nil {
		c.keys = make(Data, 1)
	}
	c.keys[key] = val
}

func (c *changes) flush() {
	c.count++
	c.flushed, c.keys = true, nil
}

// end destroys the session, which includes all of its data.
func (c *changes) end() {
	c.flush()
	c.ended = true
}

func (c *changes) any() bool {
	return c.renewed || c.flushed || len(c.keys) > 0
}

// get returns the value of the key in base with the changes laid over it.
func (c *changes) get(base values, key interface{}) interface{} {
	if val, ok := c.keys[key]; ok {
		if val == deleted {
			return nil
		}
		return val
	}
	if c.flushed || base == nil {
		return nil
	}
	return base.get(key)
}

// apply returns base with the changes; base itself stays as it is.
func (c *changes) apply(base values) values {
	if c.flushed || base == nil {
		base = Data(nil)
	}
	if len(c.keys) == 0 {
		return base
	}

	data := base.clone(len(c.keys))
	for key, val := range c.keys {
		if val == deleted {
			delete(data, key)
		} else {
			data[key] = val
		}
	}
	return data
}

// leavesNothing reports whether base with the changes is empty.
func (c *changes) leavesNothing(base values) bool {
	for _, val := range c.keys {
		if val != deleted {
			return false
		}
	}
	return c.apply(base).len() == 0
}

// then returns the log of c followed by next, which has counted on from c.
func (c changes) then(next changes) changes {
	if c.ended {
		c.count = next.count
		return c
	}
	next.renewed = next.renewed || c.renewed
	if next.flushed {
		return next
	}
	keys := c.keys
	if len(next.keys) > 0 {
		keys = make(Data, len(c.keys)+len(next.keys))
		maps.Copy(keys, c.keys)
		maps.Copy(keys, next.keys)
	}
	return changes{renewed: next.renewed, flushed: c.flushed, keys: keys, count: next.count}
}
