package storetest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// The defects that break the rules of lifetimes, of Update and of owners.
type (
	keepsFor struct { // times to live are all the same
		*mapbackend.Backend
		ttl time.Duration
	}
	keepsExpiry    struct{ *mapbackend.Backend } // a swap leaves the expiry as it is
	extendShortens struct{ *mapbackend.Backend } // an extend may shorten
	extendsFar     struct{ *mapbackend.Backend } // an extend gives an hour
	forgetsOnMove  struct{ *mapbackend.Backend } // a rename does not tell the index
	forgetsOnSwap  struct{ *mapbackend.Backend } // a swap does not tell the index
	listsDead      struct{ *mapbackend.Backend } // the index has dead records
	listsTwo       struct{ *mapbackend.Backend } // the index lists two records at most
	movesSlowly    struct{ *mapbackend.Backend } // a rename takes two steps
	listsAll       struct{ *mapbackend.Backend } // the index lists all live records, which it may
	listsPrefix    struct{ *mapbackend.Backend } // the index lists those whose owner begins so, in any case, which it may
	hidesIndex     struct{ session.Backend }     // there is no index
	wholeSeconds   struct{ *mapbackend.Backend } // an expiry is rounded up to the next second, which it may be
)

func (b keepsFor) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	rec.TTL = b.ttl
	return b.Backend.Insert(ctx, sid, rec)
}

func (b keepsFor) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	rec.TTL = b.ttl
	return b.Backend.Swap(ctx, sid, old, rec)
}

func (b keepsFor) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	rec.TTL = b.ttl
	return b.Backend.Rename(ctx, sid, newSID, old, rec)
}

func (b keepsExpiry) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	cur, _, _ := b.Load(ctx, sid)
	rec.TTL = cur.TTL
	return b.Backend.Swap(ctx, sid, old, rec)
}

func (b extendShortens) Extend(_ context.Context, sid string, ttl time.Duration) error {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	if r, ok := b.Records[sid]; ok && time.Now().Before(r.Expiry) {
		r.Expiry = time.Now().Add(ttl)
		b.Records[sid] = r
	}
	return nil
}

func (b extendsFar) Extend(ctx context.Context, sid string, _ time.Duration) error {
	return b.Backend.Extend(ctx, sid, time.Hour)
}

func (b forgetsOnMove) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	rec.Owner = ""
	return b.Backend.Rename(ctx, sid, newSID, old, rec)
}

func (b forgetsOnSwap) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	b.Mu.Lock()
	rec.Owner = b.Records[sid].Owner
	b.Mu.Unlock()
	return b.Backend.Swap(ctx, sid, old, rec)
}

// list returns the records that are listed.
func list(b *mapbackend.Backend, listed func(mapbackend.Rec) bool) (owned []session.OwnedRecord, err error) {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	for sid, r := range b.Records {
		if listed(r) {
			owned = append(owned, session.OwnedRecord{ID: sid, Record: session.Record{Data: r.Data, TTL: time.Until(r.Expiry)}})
		}
	}
	return owned, nil
}

func (b listsDead) Owned(_ context.Context, owner string) ([]session.OwnedRecord, error) {
	return list(b.Backend, func(r mapbackend.Rec) bool { return r.Owner == owner })
}

func (b listsTwo) Owned(ctx context.Context, owner string) ([]session.OwnedRecord, error) {
	owned, err := b.Backend.Owned(ctx, owner)
	return owned[:min(2, len(owned))], err
}

func (b movesSlowly) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	cur, ok, _ := b.Load(ctx, sid)
	if !ok || string(cur.Data) != string(old) {
		return false, nil
	}
	_ = b.Delete(ctx, sid)
	time.Sleep(time.Millisecond)
	return b.Insert(ctx, newSID, rec)
}

func (b listsAll) Owned(context.Context, string) ([]session.OwnedRecord, error) {
	return list(b.Backend, func(r mapbackend.Rec) bool { return time.Now().Before(r.Expiry) })
}

func (b listsPrefix) Owned(_ context.Context, owner string) ([]session.OwnedRecord, error) {
	short := func(text string) string { return strings.ToLower(text[:min(2, len(text))]) }
	return list(b.Backend, func(r mapbackend.Rec) bool {
		return r.Owner != "" && short(r.Owner) == short(owner) && time.Now().Before(r.Expiry)
	})
}

func roundUp(ttl time.Duration) time.Duration {
	const nearly = time.Second - 1
	return time.Until(time.Now().Add(ttl + nearly).Truncate(time.Second))
}

func (b wholeSeconds) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	rec.TTL = roundUp(rec.TTL)
	return b.Backend.Insert(ctx, sid, rec)
}

func (b wholeSeconds) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	rec.TTL = roundUp(rec.TTL)
	return b.Backend.Swap(ctx, sid, old, rec)
}

func (b wholeSeconds) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	rec.TTL = roundUp(rec.TTL)
	return b.Backend.Rename(ctx, sid, newSID, old, rec)
}

func (b wholeSeconds) Extend(ctx context.Context, sid string, ttl time.Duration) error {
	return b.Backend.Extend(ctx, sid, roundUp(ttl))
}

// TestDefectsOfOptionsAreCaught is TestDefectsAreCaught for what the options bring.
func TestDefectsOfOptionsAreCaught(t *testing.T) {
	for name, defect := range map[string]struct {
		wrap   func(*mapbackend.Backend) session.Backend
		broken []string
	}{
		"keeps for an hour":      {func(b *mapbackend.Backend) session.Backend { return keepsFor{b, time.Hour} }, []string{"life/own, shorter", "life/first", "life/max, extended by others", "owner/expired"}},
		"keeps for its lifetime": {func(b *mapbackend.Backend) session.Backend { return keepsFor{b, time.Second} }, []string{"life/own, longer"}},
		"swap keeps the expiry":  {func(b *mapbackend.Backend) session.Backend { return keepsExpiry{b} }, []string{"life/own, longer", "life/access", "life/max, extended by others"}},
		"extend shortens":        {func(b *mapbackend.Backend) session.Backend { return extendShortens{b} }, []string{"life/own, longer"}},
		"extends too far":        {func(b *mapbackend.Backend) session.Backend { return extendsFar{b} }, []string{"life/own, shorter"}},
		"never extends":          {func(b *mapbackend.Backend) session.Backend { return neverExtends{b} }, []string{"life/first", "life/access"}},
		"loses an update":        {func(b *mapbackend.Backend) session.Backend { return swapsBlindly{b} }, []string{"update/counters", "update/twice, two stores", "update/beside delete, two stores"}},
		"refuses in silence":     {func(b *mapbackend.Backend) session.Backend { return neverConflicts{b} }, []string{"update/counters", "update/beside others", "update/beside renewals", "update/twice, two stores", "update/panic when saved"}},
		"inserts over":           {func(b *mapbackend.Backend) session.Backend { return overwrites{b} }, []string{"update/first save, two stores"}},
		"forgets a new ID":       {func(b *mapbackend.Backend) session.Backend { return forgetsOnMove{b} }, []string{"owner/list", "owner/no trace", "owner/keep the renewed", "owner/end beside renewals"}},
		"forgets a swap":         {func(b *mapbackend.Backend) session.Backend { return forgetsOnSwap{b} }, []string{"owner/no trace", "owner/from before", "owner/changed by others"}},
		"lists the dead":         {func(b *mapbackend.Backend) session.Backend { return listsDead{b} }, []string{"owner/expired"}},
		"lists two":              {func(b *mapbackend.Backend) session.Backend { return listsTwo{b} }, []string{"owner/list", "owner/end", "owner/most"}},
		"renews in two steps":    {func(b *mapbackend.Backend) session.Backend { return movesSlowly{b} }, []string{"owner/end beside renewals"}},
		"forgets to delete":      {func(b *mapbackend.Backend) session.Backend { return forgetsDelete{b} }, []string{"owner/end", "owner/no trace", "owner/most, logins at once"}},
		"keeps the old ID":       {func(b *mapbackend.Backend) session.Backend { return keepsOldID{b} }, []string{"owner/no trace", "owner/end beside renewals"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Some rules need requests to meet, which they do not do each time.
			unseen := slices.Clone(defect.broken)
			for try := 0; try < 10 && len(unseen) > 0; try++ {
				got := brokenRules(openBackend(defect.wrap), unseen)
				unseen = slices.DeleteFunc(unseen, func(rule string) bool { return slices.Contains(got, rule) })
			}
			for _, rule := range unseen {
				t.Errorf("the rule %q is not seen to be broken", rule)
			}
		})
	}
}

// TestMayDiffer: the store looks into each record that an index lists, so one that lists too
// many breaks no rule. Nor does a backend of whole seconds.
func TestMayDiffer(t *testing.T) {
	ofOwners := slices.Concat(ownerRules, ownerLoadRules)
	for name, backend := range map[string]struct {
		wrap  func(*mapbackend.Backend) session.Backend
		rules []rule
	}{
		"lists all":     {func(b *mapbackend.Backend) session.Backend { return listsAll{b} }, ofOwners},
		"lists more":    {func(b *mapbackend.Backend) session.Backend { return listsPrefix{b} }, ofOwners},
		"whole seconds": {func(b *mapbackend.Backend) session.Backend { return wholeSeconds{b} }, slices.Concat(deathRules, lifeRules, ownLifeRules, ofOwners)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ended sync.WaitGroup
			defer ended.Wait()
			for _, rule := range backend.rules {
				ended.Go(func() {
					t.Run(rule.name, func(t *testing.T) { rule.run(t, openBackend(backend.wrap)) })
				})
			}
		})
	}
}

// TestSkips: the rules that do not apply to a store are skipped, with a reason, and no others.
func TestSkips(t *testing.T) {
	for name, store := range map[string]struct {
		open    Open
		reason  string
		applies func(rule) bool
	}{
		"another make": {openBlind, "and the store is a storetest.blindStore", func(r rule) bool {
			return !r.ours && (r.options == nil || r.name == "life/access" || r.name == "update/slow when saved")
		}},
		"no index": {openBackend(func(b *mapbackend.Backend) session.Backend { return hidesIndex{b} }), "and the backend is a storetest.hidesIndex", func(r rule) bool {
			return !strings.HasPrefix(r.name, "owner/")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ended sync.WaitGroup
			for _, rule := range rules {
				if store.applies(rule) {
					continue
				}
				ended.Go(func() {
					r := &recorder{}
					r.run(rule, store.open)
					if text := r.log.String(); !r.skipped || !strings.Contains(text, store.reason) {
						t.Errorf("the rule %q is not skipped: %s", rule.name, text)
					}
				})
			}
			ended.Wait()
			for _, rule := range slices.Concat(lifeRules, ownLifeRules, updateRules) {
				if !store.applies(rule) || rule.waits {
					continue
				}
				r := &recorder{}
				if r.run(rule, store.open); r.skipped {
					t.Errorf("the rule %q is skipped", rule.name)
				}
			}
		})
	}
}
