package state

import "maps"

// pair is a key and its value.
type pair struct{ key, val any }

// maxList is the number of pairs in which a list finds a key as fast as a map does.
const maxList = 8

// pairs is a map for few pairs, such as what one request changes. As a list they take one
// allocation, where a map of its own takes two. If there are more, they are in a map.
type pairs struct {
	few  [maxList]pair
	n    int         // how many there are in few
	many map[any]any // in place of few, if it is not nil
}

// mustBeKey panics for a key that a map would not take, such as a slice, with the words of a map.
func mustBeKey(key any) {
	if _, ok := key.(string); !ok {
		_ = map[any]any(nil)[key]
	}
}

func (p *pairs) len() int {
	switch {
	case p == nil:
		return 0
	case p.many != nil:
		return len(p.many)
	default:
		return p.n
	}
}

// find returns the pair of a key, or nil.
func (p *pairs) find(key any) *pair { return find(p.few[:p.n], key) }

// find returns the pair of a key in a list, or nil. Most keys are strings, which take a third of
// the time if they are compared as such.
func find(list []pair, key any) *pair {
	if text, ok := key.(string); ok {
		for i := range list {
			if other, ok := list[i].key.(string); ok && other == text {
				return &list[i]
			}
		}
		return nil
	}
	for i := range list {
		if list[i].key == key {
			return &list[i]
		}
	}
	return nil
}

func (p *pairs) get(key any) (val any, ok bool) {
	mustBeKey(key)
	if p == nil {
		return nil, false
	}
	if p.many != nil {
		val, ok = p.many[key]
		return val, ok
	}
	if at := p.find(key); at != nil {
		return at.val, true
	}
	return nil, false
}

func (p *pairs) set(key, val any) {
	mustBeKey(key)
	if p.many == nil {
		if at := p.find(key); at != nil {
			at.val = val
			return
		}
		if p.n < maxList {
			p.few[p.n] = pair{key, val}
			p.n++
			return
		}
		p.toMap()
	}
	p.many[key] = val
}

func (p *pairs) toMap() {
	p.many = make(map[any]any, 2*maxList)
	for _, at := range p.few {
		p.many[at.key] = at.val
	}
	p.few, p.n = [maxList]pair{}, 0
}

// removeFunc removes the keys for which f returns true.
func (p *pairs) removeFunc(f func(key any) bool) {
	maps.DeleteFunc(p.many, func(key, _ any) bool { return f(key) })
	kept := 0
	for _, at := range p.few[:p.n] {
		if !f(at.key) {
			p.few[kept] = at
			kept++
		}
	}
	clear(p.few[kept:p.n])
	p.n = kept
}

func (p *pairs) remove(key any) {
	mustBeKey(key)
	if p.many != nil {
		delete(p.many, key)
		return
	}
	if at := p.find(key); at != nil {
		p.n--
		*at, p.few[p.n] = p.few[p.n], pair{}
	}
}

// all is for range. The pairs are not to be changed meanwhile.
func (p *pairs) all(yield func(key, val any) bool) {
	if p == nil {
		return
	}
	for key, val := range p.many {
		if !yield(key, val) {
			return
		}
	}
	for _, at := range p.few[:p.n] {
		if !yield(at.key, at.val) {
			return
		}
	}
}

// clone returns a copy, which is never nil.
func (p *pairs) clone() *pairs {
	if p == nil {
		return new(pairs)
	}
	c := *p
	c.many = maps.Clone(p.many)
	return &c
}
