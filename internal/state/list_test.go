package state

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
)

// A list does what a map does, few or many.
func TestList(t *testing.T) {
	for range 2000 {
		var p List
		want := make(map[any]any)
		keys := 1 + rand.N(2*maxList)
		for i := range 40 {
			key := any(rand.N(keys))
			switch rand.N(8) {
			case 0:
				p = p.remove(key)
				delete(want, key)
			case 1:
				odd := func(key any) bool { return key.(int)%2 == 1 }
				p = p.removeFunc(odd)
				for key := range want {
					if odd(key) {
						delete(want, key)
					}
				}
			case 2:
				c := p.clone().set(key, "of the clone")
				c.remove(any(0))
				var room Room
				c = p.Draft(&room).set(key, "of the draft")
				c.remove(any(0))
			default:
				p = p.set(key, i)
				want[key] = i
			}
			got := make(map[any]any)
			for key, val := range p.all {
				got[key] = val
			}
			if !reflect.DeepEqual(got, want) || p.len() != len(want) {
				t.Fatalf("%d: %v, want %v", p.len(), got, want)
			}
			if stored := p.Stored(); !reflect.DeepEqual(stored.Copy(), want) || cap(stored) != len(stored) {
				t.Fatalf("stored as %v, want %v", stored.Copy(), want)
			}
			if val, ok := p.get(key); val != want[key] || ok != (want[key] != nil) {
				t.Fatalf("%v is %v, want %v", key, val, want[key])
			}
		}
		for range p.all {
			break // which ends it
		}
	}
	var room Room
	if none := (*List)(nil).Draft(&room); none.len() != 0 || none.Stored().len() != 0 || (List)(nil).clone().len() != 0 {
		t.Error("there is something in nothing")
	}
}

// What is no key of a map is none of a list, and a key that is not equal to itself is a new one
// each time.
func TestKeysOfLists(t *testing.T) {
	uses := map[string]func(p List, key any){
		"get":    func(p List, key any) { p.get(key) },
		"set":    func(p List, key any) { p.set(key, 1) },
		"remove": func(p List, key any) { p.remove(key) },
	}
	for name, use := range uses {
		for _, n := range []int{0, 1, maxList, maxList + 1} {
			var p List
			for i := range n {
				p = p.set(i, i)
			}
			func() {
				defer func() {
					if recover() == nil || p.len() != n {
						t.Errorf("%s takes a slice for a key, beside %d others", name, n)
					}
				}()
				use(p, []string{"a"})
			}()
		}
	}
	var p List
	for n := range 2 * maxList {
		p = p.set(math.NaN(), n)
		if _, ok := p.get(math.NaN()); ok || p.len() != n+1 {
			t.Errorf("%d values under keys that are not equal to themselves", p.len())
		}
	}
	p = p.set("other", 1).removeFunc(func(key any) bool { return key != "other" })
	if val, _ := p.get("other"); val != 1 || p.len() != 1 {
		t.Errorf("%d values are left", p.len())
	}
}
