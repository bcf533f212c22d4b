package storetest

import (
	"crypto/sha256"
	"encoding/gob"
	"fmt"
	"math"
	"net/http"
	"strings"

	"github.com/flamego/session"
)

type (
	userName string
	userID   uint16
	// textID is known by its text.
	textID struct{ N int }
)

func (id textID) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "id-%d", id.N), nil }

func (e *env) comparesText() {
	gob.Register(userName(""))
	gob.Register(userID(0))
	gob.Register(textID{})

	same := []interface{}{7, "7", int8(7), int64(7), uint8(7), uint64(7), userID(7), userName("7"), float64(7)}
	var sevens []*visitor
	for _, owner := range same {
		sevens = append(sevens, e.device(owner))
	}
	minus, most, text := e.device(-7), e.device(uint64(math.MaxUint64)), e.device(textID{7})
	for _, owner := range same {
		e.wantOwned(owner, sevens...)
	}
	e.wantOwned("-7", minus)
	e.wantOwned("18446744073709551615", most)
	e.wantOwned(textID{7}, text)
	e.wantOwned("id-7", text)

	long := strings.Repeat("ü", 95) // 190 bytes
	apart := []string{
		"x", "X", "x ", " x", "x\x00", "x\x00y", "x\n", "xx", "é", "e\u0301", "É", "ß", "ss", "i", "ı", "日本", "🙂", "🙃", "'x", `"x`, `\x`, "x%", "x_", "*", "%", "$x",
		"{x}", "x:y", "x/y", "../x", "\xff", "\xfe", "\ufffd", "\xff\xff", "07", "7.0", "0x7", "+7",
		long, long[:188], long + "x", long + "y", strings.Repeat("a", 191), strings.Repeat("a", 190), strings.Repeat("a", 10_000),
		fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(strings.Repeat("a", 191)))), // an index has a long owner so
	}
	visitors := make([]*visitor, len(apart))
	for i, owner := range apart {
		visitors[i] = e.device(owner)
	}
	for i, owner := range apart {
		e.wantOwned(owner, visitors[i])
		e.wantOwned(userName(owner), visitors[i])
	}
	for i, owner := range apart {
		if n, err := session.EndOwned(e.context(), e.store, owner, nil); n != 1 || err != nil {
			e.Errorf("EndOwned of the owner %.20q returns %d, %v", owner, n, err)
		}
		if i%10 > 0 {
			continue
		}
		for j := range visitors {
			if live := e.store.Exist(e.context(), visitors[j].sid); live != (j > i) {
				e.Errorf("after the sessions of %.20q have ended, that of %.20q is alive: %t", owner, apart[j], live)
			}
		}
	}
	e.wantOwned(7, sevens...)
}

func (e *env) refusesOwners() {
	for _, owner := range []interface{}{nil, "", userName(""), struct{}{}, 7.5, []byte("alice"), (*textID)(nil)} {
		if infos, err := session.Owned(e.context(), e.store, owner); err == nil {
			e.Errorf("Owned of a %T returns %d sessions and no error", owner, len(infos))
		}
	}
	v := e.device("alice")
	for _, owner := range []interface{}{true, 7.5, math.NaN(), math.Inf(1), 1e300, []byte("alice"), []string{"alice"}, map[string]string{"alice": "bob"}} {
		s := e.read(v.sid)
		s.Set("user", owner)
		s.Set("key", 1)
		err := e.store.Save(e.context(), s)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%T", owner)) {
			e.Errorf("an owner %v is saved with the error %v", owner, err)
		}
		if err != nil && strings.Contains(err.Error(), "alice") {
			e.Errorf("the error repeats the owner: %v", err)
		}
		if !s.HasChanged() {
			e.Error("after a save that failed the session has not changed")
		}
		w := serve(e.context(), e.app(), v.sid, func(_ http.ResponseWriter, _ *http.Request, s session.Session, _ session.Flash) {
			s.Set("user", owner)
			s.Set("key", 1)
		})
		if w.Code != http.StatusInternalServerError {
			e.Errorf("a request that sets an owner %v has the status %d", owner, w.Code)
		}
	}
	e.want(v.sid, "user", "alice", "key", nil)
	e.wantOwned("alice", v)
	for _, owner := range []interface{}{"", nil} {
		v := e.device("carol").do(func(s session.Session) { s.Set("user", owner) })
		e.wantExist(v.sid, true)
		e.wantOwned("carol")
	}
}
