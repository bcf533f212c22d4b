package state

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
)

// Pairs do what a map does, few or many.
func TestPairs(t *testing.T) {
	for range 2000 {
		var p pairs
		want := make(map[any]any)
		keys := 1 + rand.N(2*maxList)
		for i := range 40 {
			key := any(rand.N(keys))
			switch rand.N(8) {
			case 0:
				p.remove(key)
				delete(want, key)
			case 1:
				odd := func(key any) bool { return key.(int)%2 == 1 }
				p.removeFunc(odd)
				for key := range want {
					if odd(key) {
						delete(want, key)
					}
				}
			case 2:
				c := p.clone()
				c.set(key, "of the clone")
				c.remove(any(0))
			default:
				p.set(key, i)
				want[key] = i
			}
			got := make(map[any]any)
			for key, val := range p.all {
				got[key] = val
			}
			if !reflect.DeepEqual(got, want) || p.len() != len(want) {
				t.Fatalf("%d: %v, want %v", p.len(), got, want)
			}
			if val, ok := p.get(key); val != want[key] || ok != (want[key] != nil) {
				t.Fatalf("%v is %v, want %v", key, val, want[key])
			}
		}
		for range p.all {
			break // which ends it
		}
	}
	var none *pairs
	if _, ok := none.get("key"); ok || none.len() != 0 || none.clone().len() != 0 {
		t.Error("there is something in nothing")
	}
	for range none.all {
		t.Error("there is something in nothing")
	}
}

// What is no key of a map is none of pairs, and a key that is not equal to itself is a new one
// each time.
func TestKeysOfPairs(t *testing.T) {
	uses := map[string]func(p *pairs, key any){
		"get":    func(p *pairs, key any) { p.get(key) },
		"set":    func(p *pairs, key any) { p.set(key, 1) },
		"remove": func(p *pairs, key any) { p.remove(key) },
	}
	for name, use := range uses {
		for _, n := range []int{0, 1, maxList, maxList + 1} {
			var p pairs
			for i := range n {
				p.set(i, i)
			}
			func() {
				defer func() {
					if recover() == nil || p.len() != n {
						t.Errorf("%s takes a slice for a key, beside %d others", name, n)
					}
				}()
				use(&p, []string{"a"})
			}()
		}
	}
	var p pairs
	for n := range 2 * maxList {
		p.set(math.NaN(), n)
		if _, ok := p.get(math.NaN()); ok || p.len() != n+1 {
			t.Errorf("%d values under keys that are not equal to themselves", p.len())
		}
	}
}
