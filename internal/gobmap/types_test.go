package gobmap_test

import (
	"encoding/gob"
	"math/big"
	"net/url"
	"time"
)

// Types as an app may register them. Those with names of six letters have some of
// the fields of gobOne: with such a name in its place, a message of that type has
// fields that are skipped.
type (
	gobString string
	gobBytes  []byte
	gobTags   []string
	gobNumber float32
	gobSelf   []gobSelf
	gobArray  [3]gobPoint
	gobPoint  struct{ X, Y int }
	gobNode   struct {
		Next *gobNode
		Val  interface{}
	}
	gobOne struct {
		Name   string
		Any    interface{}
		List   []interface{}
		Points map[gobPoint]gobPoint
		At     time.Time
		Big    *big.Int
		Deep   [][]map[string][2]complex64
		Last   map[string]int
	}
	gobTwo struct {
		Name   string
		Other  *gobOne
		Points map[gobPoint]gobPoint
		Last   map[string]int
		hidden int
	}
	gobAny struct {
		Any  interface{}
		Last map[string]int
	}
	gobLst struct {
		List []interface{}
		Last map[string]int
	}
	gobPts struct {
		Points map[gobPoint]struct{ Y int }
		Last   map[string]int
	}
	gobDee struct {
		Deep [][]map[string][2]complex64
		At   time.Time
		Last map[string]int
	}
	gobBig struct {
		Name string
		Big  *big.Int
		Last map[string]int
	}
	gobNot struct {
		Name int
		Last map[string]int
	}
)

var sixLetters = []string{"gobOne", "gobTwo", "gobAny", "gobLst", "gobPts", "gobDee", "gobBig", "gobNot"}

func init() {
	for _, val := range []interface{}{
		gobString(""), gobBytes{}, gobTags{}, gobNumber(0), gobSelf{}, gobArray{}, gobPoint{}, &gobNode{}, gobOne{}, gobTwo{},
		gobAny{}, gobLst{}, gobPts{}, gobDee{}, gobBig{}, gobNot{},
		[]gobPoint{}, []*gobNode{}, map[gobPoint]gobOne{}, []time.Time{}, [2]string{}, &big.Int{}, &url.URL{}, []*int{},
		map[string]*gobTwo{}, [][]byte{}, map[int]bool{}, struct{}{},
	} {
		gob.Register(val)
	}
}

// registeredValues need encoding/gob.
func registeredValues() map[interface{}]interface{} {
	one := gobOne{
		Name: "one", Any: map[string]interface{}{"a": []string{"b"}, "n": nil}, List: []interface{}{nil, 1, gobString("x"), gobTags{"t"}},
		Points: map[gobPoint]gobPoint{{1, 2}: {3, 4}}, At: time.Unix(1, 2).In(time.FixedZone("", 3600)), Big: big.NewInt(1 << 40),
		Deep: [][]map[string][2]complex64{{{"x": {1, 2}}}, nil}, Last: map[string]int{"a": 1},
	}
	n := 7
	return map[interface{}]interface{}{
		"string": gobString("s"), "bytes": gobBytes("b"), "tags": gobTags{"a", ""}, "number": gobNumber(1.5),
		"self": gobSelf{nil, {nil, {}}}, "array": gobArray{{1, 2}}, "point": gobPoint{}, "node": &gobNode{Next: &gobNode{Val: gobPoint{5, 6}}},
		"one": one, "two": gobTwo{Name: "two", Other: &one, Last: map[string]int{"b": 2}, hidden: 1},
		"points": []gobPoint{{}, {1, 0}}, "nodes": []*gobNode{{}, {Val: 1}}, "map": map[gobPoint]gobOne{{1, 1}: {Name: "in"}},
		"times": []time.Time{time.Unix(9, 9).UTC()}, "pair": [2]string{"a", ""}, "big": big.NewInt(-5), "url": &url.URL{Host: "h", Path: "/p"},
		"ints": []*int{&n}, "twos": map[string]*gobTwo{"k": {Name: "x"}}, "blobs": [][]byte{{1}, nil}, "nums": map[int]bool{-1: true},
		gobPoint{1, 2}: "key", gobString("k"): "named key", "plain": map[string]interface{}{"x": gobPoint{1, 1}},
	}
}
