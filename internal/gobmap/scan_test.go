package gobmap_test

import (
	"fmt"
	"testing"

	"github.com/flamego/session/internal/gobmap"
)

// checkScan checks that what is said to be readable without reading it is so, to
// have the key that it has, and that values are the same when they are read alone.
func checkScan(t *testing.T, raw []byte) {
	t.Helper()
	data, readable := gobmap.Read(raw)
	for _, key := range []string{"key", "user_id", "flamego::session::flash"} {
		var ix gobmap.Index
		has, ok := gobmap.Scan(raw, key, &ix)
		if ok != readable {
			t.Fatalf("readable %v, but a scan says %v", readable, ok)
		}
		if !ok {
			return
		}
		if _, found := data[key]; found != has {
			t.Fatalf("key %q there: %v, but a scan says %v", key, found, has)
		}
		checkIndex(t, raw, &ix, data, key)
		for key := range data {
			if key, ok := key.(string); ok {
				checkIndex(t, raw, &ix, data, key)
			}
		}
	}
}

// checkIndex checks one value that is read alone, if it can be.
func checkIndex(t *testing.T, raw []byte, ix *gobmap.Index, data map[interface{}]interface{}, key string) {
	t.Helper()
	got, ok := ix.Get(raw, key)
	if want := data[key]; ok && fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) { // NaN is not equal to itself
		t.Fatalf("key %q: %#v when it is read alone, %#v with the others", key, got, want)
	}
}
