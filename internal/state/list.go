package state

// List is Values as a list, which takes half the memory of a small map. Many values are a list
// of one pair: the key is asMap, and the value is the Map that holds them all.
type List []pair

var asMap any = new(struct{ _ byte })

// ListOf returns the values of a map, which belongs to the list from then on.
func ListOf(m map[any]any) List {
	d := DraftOf(m)
	return d.List()
}

// large returns the Map of a session of many values.
func (l *List) large() (Map, bool) {
	if len(*l) != 1 || (*l)[0].key != asMap {
		return nil, false
	}
	m, ok := (*l)[0].val.(Map)
	return m, ok
}

// Get returns the value of the key, or nil.
func (l *List) Get(key any) any {
	if m, ok := l.large(); ok {
		return m[key]
	}
	if at := find(*l, key); at != nil {
		return at.val
	}
	return nil
}

// Copy returns the values in a map with room for one more key.
func (l *List) Copy() map[any]any {
	if m, ok := l.large(); ok {
		return m.Copy()
	}
	c := make(map[any]any, len(*l)+1)
	for i := range *l {
		c[(*l)[i].key] = (*l)[i].val
	}
	return c
}
