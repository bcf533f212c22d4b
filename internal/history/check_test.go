package history

import (
	"strings"
	"testing"
	"time"
)

// at returns a request that takes four ticks from the given one on and sees pairs of keys and
// values.
func at(begin int64, sid string, seen ...string) *Step {
	s := &Step{
		Client: 1, N: int(begin), Kind: Request, Sent: sid, ID: sid, Saved: true,
		Begin: begin, Read: begin + 1, Commit: begin + 2, End: begin + 3, Calm: true,
		Since: time.UnixMilli(100 * begin), Until: time.UnixMilli(100*begin + 300),
		Seen: make(map[string]string), Keys: make(map[string]string),
	}
	for i := 0; i < len(seen); i += 2 {
		s.Seen[seen[i]] = seen[i+1]
	}
	return s
}

func (s *Step) setting(key, val string) *Step { s.Keys[key] = val; return s }
func (s *Step) adding(words ...string) *Step  { s.Added = words; return s }
func (s *Step) flushing() *Step               { s.Flushed = true; return s }
func (s *Step) renewing(id string) *Step      { s.ID, s.Renewed = id, true; return s }
func (s *Step) ending() *Step                 { s.Ended, s.Saved = true, false; return s }
func (s *Step) failing() *Step                { s.Failed, s.Saved, s.End = true, false, Never; return s }
func (s *Step) givingBack() *Step             { s.GaveBack, s.Commit, s.End = true, s.Begin+5, Never; return s }
func (s *Step) until(end int64) *Step         { s.End = end; return s }
func (s *Step) committing(at int64) *Step     { s.Commit, s.End = at, at+1; return s }
func (s *Step) disturbed() *Step              { s.Calm = false; return s }
func (s *Step) slow() *Step                   { s.Until = s.Since.Add(2 * time.Second); return s }
func (s *Step) since(tick int64) *Step        { s.Since = time.UnixMilli(100 * tick); return s }
func (s *Step) unsaved() *Step                { s.Saved = false; return s }

// unknown begins a new session, as the store does not know the ID that the step came with.
func (s *Step) unknown(id string) *Step { s.Unknown, s.Sent, s.ID = s.Sent, "", id; return s }

// dropped has the step told, between two ticks, that its session is gone.
func (s *Step) dropped(commit, end int64) *Step {
	s.Dropped, s.Saved, s.Commit, s.End = true, false, commit, end
	return s
}

// endingOwned ends the sessions of the owner, but for the one of the step.
func endingOwned(begin int64, kept string) *Step {
	s := at(begin, kept)
	s.Kind, s.EndsOwned, s.Saved = "EndOwned", true, false
	return s
}

func TestCheck(t *testing.T) {
	first := func() *Step { return at(0, "x").setting(Root, "root1") }
	renewed := func() *Step { return at(10, "x", Root, "root1").renewing("y") }
	for name, test := range map[string]struct {
		steps  []*Step
		breaks string // the rule and how it is broken, as the report says; empty for none
	}{
		"a value is read":                   {[]*Step{first(), at(10, "x", Root, "root1")}, ""},
		"a value is lost":                   {[]*Step{first(), at(10, "x")}, "I1 or I7: a committed value is lost"},
		"a value of nobody":                 {[]*Step{first(), at(10, "x", Root, "root2")}, "I3: a value is read that no request has left there"},
		"a value of another session":        {[]*Step{first(), at(10, "y", Root, "root1")}, "I3: a value of another session is read"},
		"an old value":                      {[]*Step{first(), at(10, "x", Root, "root1").setting(Root, "root2"), at(20, "x", Root, "root1")}, "I1: a value is read that had been replaced or deleted"},
		"a value is taken to a new ID":      {[]*Step{first(), at(10, "x", Root, "root1").renewing("y"), at(20, "y", Root, "root1")}, ""},
		"a value is lost by a new ID":       {[]*Step{first(), at(10, "x", Root, "root1").renewing("y"), at(20, "y")}, "I1 or I7: a committed value is lost"},
		"both IDs are alive":                {[]*Step{first(), at(10, "x", Root, "root1").renewing("y"), at(20, "x", Root, "root1")}, "I2: a value is read after the end of its session"},
		"a session is alive after its end":  {[]*Step{first(), at(10, "x", Root, "root1").ending(), at(20, "x", Root, "root1")}, "I2: a value is read after the end of its session"},
		"a session that may have ended":     {[]*Step{first(), at(10, "x", Root, "root1").ending().failing(), at(20, "x", Root, "root1")}, ""},
		"a session that has ended perhaps":  {[]*Step{first(), at(10, "x", Root, "root1").ending().failing(), at(20, "x")}, ""},
		"what failed is there":              {[]*Step{first(), at(10, "x", Root, "root1").setting("a", "a1").failing(), at(20, "x", Root, "root1", "a", "a1")}, ""},
		"what failed is not there":          {[]*Step{first(), at(10, "x", Root, "root1").setting("a", "a1").failing(), at(20, "x", Root, "root1")}, ""},
		"what failed is there, then not":    {[]*Step{first(), at(10, "x", Root, "root1").setting("a", "a1").failing(), at(20, "x", Root, "root1", "a", "a1"), at(30, "x", Root, "root1")}, "I1 or I7: a committed value is lost"},
		"a new ID that nobody was told":     {[]*Step{first(), at(10, "x", Root, "root1").failing().renewing("x"), at(20, "x")}, ""},
		"a flash is received":               {[]*Step{first().setting(FlashKey, "f1"), at(10, "x", Root, "root1", FlashKey, "f1"), at(20, "x", Root, "root1")}, ""},
		"a flash is lost":                   {[]*Step{first().setting(FlashKey, "f1"), at(10, "x", Root, "root1")}, "I1 or I7: a committed value is lost"},
		"a flash is received twice":         {[]*Step{first().setting(FlashKey, "f1"), at(10, "x", Root, "root1", FlashKey, "f1"), at(11, "x", Root, "root1", FlashKey, "f1")}, "flash: a flash is received twice"},
		"a flash that was given back":       {[]*Step{first().setting(FlashKey, "f1"), at(10, "x", Root, "root1").givingBack(), at(11, "x", Root, "root1"), at(20, "x", Root, "root1", FlashKey, "f1")}, ""},
		"additions count":                   {[]*Step{first().adding("s1"), at(10, "x", Root, "root1", SumKey, "s1").adding("s2", "s3"), at(20, "x", Root, "root1", SumKey, "s1 s2 s3")}, ""},
		"an addition is lost":               {[]*Step{first().adding("s1"), at(10, "x", Root, "root1", SumKey, "s1").adding("s2", "s3"), at(20, "x", Root, "root1", SumKey, "s2 s3")}, "I1 or I7: an addition is lost"},
		"the last addition is lost":         {[]*Step{first().adding("s1"), at(10, "x", Root, "root1", SumKey, "s1").adding("s2"), at(20, "x", Root, "root1", SumKey, "s1")}, "I1 or I7: an addition is lost"},
		"an addition counts twice":          {[]*Step{first().adding("s1"), at(10, "x", Root, "root1", SumKey, "s1 s1")}, "I7: an addition counts twice"},
		"an addition that failed counts":    {[]*Step{first(), at(10, "x", Root, "root1").adding("s1").failing(), at(20, "x", Root, "root1", SumKey, "s1")}, ""},
		"one that failed does not count":    {[]*Step{first(), at(10, "x", Root, "root1").adding("s1").failing(), at(20, "x", Root, "root1")}, ""},
		"one that failed counts twice":      {[]*Step{first(), at(10, "x", Root, "root1").adding("s1").failing(), at(20, "x", Root, "root1", SumKey, "s1 s1")}, "I7: an addition counts twice"},
		"an addition of another session":    {[]*Step{first().adding("s1"), at(10, "y", SumKey, "s1")}, "I3: a value of another session is read"},
		"additions are flushed":             {[]*Step{first().adding("s1"), at(10, "x", Root, "root1", SumKey, "s1").flushing().adding("s2"), at(20, "x", SumKey, "s2")}, ""},
		"an addition outlives a flush":      {[]*Step{first().adding("s1"), at(10, "x", Root, "root1", SumKey, "s1").flushing().adding("s2"), at(20, "x", SumKey, "s1 s2")}, "I1: an addition is read that had been flushed"},
		"one that is flushed meanwhile":     {[]*Step{first(), at(10, "x", Root, "root1").adding("s1"), at(11, "x", Root, "root1").flushing().setting(Root, "root2"), at(20, "x", Root, "root2")}, ""},
		"one that comes after the look":     {[]*Step{at(10, "x").renewing("y").setting("b", "b1").committing(20), at(11, "x").setting("a", "a1"), at(30, "x", "a", "a1")}, ""},
		"sessions of an owner are ended":    {[]*Step{first(), endingOwned(10, ""), at(20, "x")}, ""},
		"one of an owner is not ended":      {[]*Step{first(), endingOwned(10, ""), at(20, "x", Root, "root1")}, "I2: a value is read after all sessions of its owner had been ended"},
		"ends that have failed":             {[]*Step{first(), endingOwned(10, "").failing(), at(20, "x", Root, "root1")}, ""},
		"one with a new ID is not ended":    {[]*Step{first(), at(10, "x", Root, "root1").until(30).renewing("y"), endingOwned(11, "").until(20), at(40, "y", Root, "root1")}, "I2: a value is read after all sessions of its owner had been ended"},
		"one that is younger than the ends": {[]*Step{endingOwned(0, ""), at(1, "x").setting(Root, "root1"), at(20, "x", Root, "root1")}, ""},
		"the session of the request stays":  {[]*Step{first(), endingOwned(10, "x"), at(20, "x", Root, "root1")}, ""},
		"it is lost":                        {[]*Step{first(), endingOwned(10, "x"), at(20, "x")}, "I1 or I7: a committed value is lost"},
		"its new ID is newer than the ends": {[]*Step{first(), endingOwned(10, "x"), at(20, "x", Root, "root1").renewing("y"), at(30, "y")}, "I1 or I7: a committed value is lost"},
		"another one is ended":              {[]*Step{first(), endingOwned(10, "y"), at(20, "x", Root, "root1")}, "I2: a value is read after all sessions of its owner had been ended"},
		"a renewed ID is void":              {[]*Step{first(), renewed(), at(20, "x").setting("a", "a1").unsaved(), at(30, "x"), at(40, "y", Root, "root1")}, ""},
		"a renewed ID is unknown":           {[]*Step{first(), renewed(), at(20, "x").unknown("z")}, "renewal: a request is in a new session, though its ID was given up only a moment ago"},
		"it is so 20 s later":               {[]*Step{first(), renewed(), at(200, "x").unknown("z")}, ""},
		"it is so before it is answered":    {[]*Step{first(), renewed().until(30), at(20, "x").unknown("z")}, ""},
		"it is so before both are":          {[]*Step{first(), renewed().until(30), at(11, "x", Root, "root1").renewing("z").setting("a", "a1"), at(20, "x").unknown("u")}, ""},
		"it is so after both are":           {[]*Step{first(), renewed(), at(11, "x", Root, "root1").renewing("z").setting("a", "a1"), at(20, "x").unknown("u")}, "renewal: a request is in a new session, though its ID was given up only a moment ago"},
		"it is so after a fault":            {[]*Step{first(), renewed().disturbed(), at(20, "x").unknown("z")}, ""},
		"it is so after a timeout":          {[]*Step{first(), renewed().slow(), at(20, "x").unknown("z")}, ""},
		"it is so after one that failed":    {[]*Step{first(), at(5, "x", Root, "root1").renewing("x").failing(), renewed(), at(20, "x").unknown("z")}, ""},
		"it is so as nothing was stored":    {[]*Step{at(10, "x").renewing("y").unsaved(), at(20, "x").unknown("z")}, ""},
		"it is so as nothing was found":     {[]*Step{at(10, "x").renewing("y").setting("a", "a1"), at(20, "x").unknown("z")}, ""},
		"it is so as it was ended":          {[]*Step{first(), renewed(), at(15, "x").ending(), at(20, "x").unknown("z")}, ""},
		"it is so, and ended later":         {[]*Step{first(), renewed(), at(20, "x").unknown("z"), at(30, "x").ending()}, "renewal: a request is in a new session, though its ID was given up only a moment ago"},
		"it is so as all were ended":        {[]*Step{first(), renewed(), endingOwned(11, ""), at(20, "x").unknown("z")}, ""},
		"it is so, and all ended later":     {[]*Step{first(), renewed(), endingOwned(15, ""), at(20, "x").unknown("z")}, "renewal: a request is in a new session, though its ID was given up only a moment ago"},
		"it is so as one began meanwhile":   {[]*Step{first(), renewed(), at(1, "x").setting("a", "a1").committing(12), endingOwned(20, ""), at(30, "x").unknown("z")}, ""},
		"it is so, and one came later":      {[]*Step{first(), renewed(), at(15, "x").setting("a", "a1").unsaved(), endingOwned(20, ""), at(30, "x").unknown("z")}, "renewal: a request is in a new session, though its ID was given up only a moment ago"},
		"it is so as all were ended before": {[]*Step{first(), renewed(), endingOwned(11, ""), at(15, "x").renewing("z").setting("a", "a1").since(9), at(30, "x").unknown("u")}, ""},
		"a renewed ID is used again":        {[]*Step{first(), renewed(), at(20, "x").setting("a", "a1"), at(30, "x", "a", "a1")}, "I2: a value is read after the end of its session"},
		"it is used again after a fault":    {[]*Step{first(), renewed().disturbed(), at(20, "x").setting("a", "a1"), at(30, "x", "a", "a1")}, ""},
		"it is used at the same time":       {[]*Step{first(), renewed(), at(12, "x").setting("a", "a1"), at(17, "x", "a", "a1").setting("a", ""), at(22, "x").setting("b", "b1"), at(30, "x", "b", "b1")}, ""},
		"a second renewal counts":           {[]*Step{first(), renewed(), at(20, "x").renewing("z").setting("a", "a1"), at(30, "z", "a", "a1"), at(40, "y", Root, "root1")}, ""},
		"a second renewal is lost":          {[]*Step{first(), renewed(), at(11, "x", Root, "root1").renewing("x").setting("a", "a1").dropped(15, 16)}, "renewal: what a request has set that renews its session is lost, only because another one was faster to renew it"},
		"one that sets nothing is void":     {[]*Step{first(), renewed(), at(11, "x", Root, "root1").renewing("x")}, ""},
		"one may be lost at the same time":  {[]*Step{first(), renewed(), at(11, "x", Root, "root1").renewing("x").setting("a", "a1").dropped(13, 14)}, ""},
		"one may be lost at an end":         {[]*Step{first(), renewed(), at(11, "x", Root, "root1").renewing("x").setting("a", "a1").dropped(20, 25), at(22, "x").ending()}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			problem := Check(test.steps)
			first, _, _ := strings.Cut(problem, " (")
			if first = strings.Replace(first, " is broken", "", 1); first != test.breaks {
				t.Errorf("want %q, got %q: %s", test.breaks, first, problem)
			}
		})
	}
}
