package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/flamego/session"
)

// home counts the visits of this session. Update counts right when two tabs load at once, which
// Get and Set would not: both would read the same number.
func (a *app) home(s session.Session, v *view) {
	session.Update(s, keyVisits, func(n int) int { return n + 1 })
	v.Data, _ = session.Value[int](s, keyVisits)
	v.show("home.html")
}

// sessionFacts are what the page about the session shows. The ID is not among them: whoever
// reads an ID on a page, in a log or in a URL is that visitor.
type sessionFacts struct {
	Store    string
	Handle   string
	Issued   time.Time
	Expires  time.Time // if it is not used any more
	Left     time.Duration
	Lifetime time.Duration
	End      time.Time // however much it is used
	Keys     []string
}

// sessionPage shows what is stored of this session. What this very request changes is not stored
// yet, and a request that only reads postpones the end at most once a minute.
func (a *app) sessionPage(r *http.Request, s session.Session, store session.Store, v *view) {
	facts := sessionFacts{Store: stores[a.store].title, Handle: session.Handle(s), Lifetime: idleLifetime}
	if remembered, _ := session.Value[bool](s, keyRemembered); remembered {
		facts.Lifetime = rememberLifetime
	}
	infos, err := session.Owned(r.Context(), store, v.User.ID)
	if err != nil {
		v.fail(err)
		return
	}
	for _, info := range infos {
		if info.Handle == facts.Handle {
			facts.Issued, facts.Expires, facts.Left = info.Issued, info.Expires, time.Until(info.Expires)
			facts.End = info.Issued.Add(maxLifetime)
			for key := range maps.Keys(info.Data) {
				facts.Keys = append(facts.Keys, fmt.Sprint(key))
			}
			slices.Sort(facts.Keys)
		}
	}
	v.Data = facts
	v.show("session.html")
}
