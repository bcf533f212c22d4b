package gobmap

import "errors"

// head reads what stands before a value in an interface: the name of its type, perhaps
// type definitions, and the length of the value. Like gob, it does not use the length.
// It returns nil if the interface is nil, and after an error.
func (c *cursor) head() *common {
	name := c.bytes()
	if len(name) == 0 {
		return nil
	}
	t := stringType // most keys are strings: save the look-up
	if string(name) != "string" {
		t = byName[string(name)]
		if t != nil && t.naming != nil && t.naming.get() == taken {
			t = nil
		}
	}
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
	return t
}

// body reads the value after its head.
func (c *cursor) body(t *common) any {
	c.enter()
	c.charge(costBox)
	v := t.read(c)
	c.leave()
	return v
}

func (c *cursor) any() any {
	t := c.head()
	if t == nil {
		return nil
	}
	return c.body(t)
}

// key is any for a value that a map can have as a key.
func (c *cursor) key() any {
	t := c.head()
	if t != nil && !t.comparable {
		c.fail(errors.New("the key is of a type that cannot be one"))
	}
	if t == nil || c.err != nil {
		return nil
	}
	return c.body(t)
}
