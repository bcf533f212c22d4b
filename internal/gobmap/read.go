package gobmap

import (
	"errors"
	"reflect"
)

// any reads a value and, before it, the name of its type, perhaps type
// definitions, and the length of what follows, which gob does not look at either.
func (c *cursor) any() any {
	name := c.bytes()
	if len(name) == 0 {
		return nil
	}
	t := byName[string(name)]
	if t == nil {
		c.fail(ErrOther)
		return nil
	}
	if !t.match(c, c.typeSequence(true)) {
		c.fail(errors.New("the value is not of the type that is named"))
		return nil
	}
	c.uint()
	c.zero()
	c.enter()
	c.charge(costBox)
	v := t.read(c)
	c.leave()
	return v
}

// key reads a value that a map can have as a key.
func (c *cursor) key() any {
	key := c.any()
	if key != nil && !reflect.TypeOf(key).Comparable() {
		c.fail(errors.New("the key is of a type that cannot be one"))
		return nil
	}
	return key
}
