package history

import (
	"strings"
	"testing"
)

// at returns a request that takes four ticks from the given one on and sees pairs of keys and
// values.
func at(begin int64, sid string, seen ...string) *Step {
	s := &Step{
		Client: 1, N: int(begin), Kind: Request, Sent: sid, ID: sid, Saved: true,
		Begin: begin, Read: begin + 1, Commit: begin + 2, End: begin + 3,
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

// endingOwned ends the sessions of the owner, but for the one of the step.
func endingOwned(begin int64, kept string) *Step {
	s := at(begin, kept)
	s.Kind, s.EndsOwned, s.Saved = "EndOwned", true, false
	return s
}

func TestCheck(t *testing.T) {
	first := func() *Step { return at(0, "x").setting(Root, "root1") }
	for name, test := range map[string]struct {
		steps  []*Step
		breaks string // what the report begins with, empty for none
	}{
		"a value is read":                   {[]*Step{first(), at(10, "x", Root, "root1")}, ""},
		"a value is lost":                   {[]*Step{first(), at(10, "x")}, "I1 or I7"},
		"a value of nobody":                 {[]*Step{first(), at(10, "x", Root, "root2")}, "I3"},
		"a value of another session":        {[]*Step{first(), at(10, "y", Root, "root1")}, "I3"},
		"an old value":                      {[]*Step{first(), at(10, "x", Root, "root1").setting(Root, "root2"), at(20, "x", Root, "root1")}, "I1"},
		"a value is taken to a new ID":      {[]*Step{first(), at(10, "x", Root, "root1").renewing("y"), at(20, "y", Root, "root1")}, ""},
		"a value is lost by a new ID":       {[]*Step{first(), at(10, "x", Root, "root1").renewing("y"), at(20, "y")}, "I1 or I7"},
		"both IDs are alive":                {[]*Step{first(), at(10, "x", Root, "root1").renewing("y"), at(20, "x", Root, "root1")}, "I2"},
		"a session is alive after its end":  {[]*Step{first(), at(10, "x", Root, "root1").ending(), at(20, "x", Root, "root1")}, "I2"},
		"a session that may have ended":     {[]*Step{first(), at(10, "x", Root, "root1").ending().failing(), at(20, "x", Root, "root1")}, ""},
		"a session that has ended perhaps":  {[]*Step{first(), at(10, "x", Root, "root1").ending().failing(), at(20, "x")}, ""},
		"what failed is there":              {[]*Step{first(), at(10, "x", Root, "root1").setting("a", "a1").failing(), at(20, "x", Root, "root1", "a", "a1")}, ""},
		"what failed is not there":          {[]*Step{first(), at(10, "x", Root, "root1").setting("a", "a1").failing(), at(20, "x", Root, "root1")}, ""},
		"what failed is there, then not":    {[]*Step{first(), at(10, "x", Root, "root1").setting("a", "a1").failing(), at(20, "x", Root, "root1", "a", "a1"), at(30, "x", Root, "root1")}, "I1 or I7"},
		"a new ID that nobody was told":     {[]*Step{first(), at(10, "x", Root, "root1").failing().renewing("x"), at(20, "x")}, ""},
		"a flash is received":               {[]*Step{first().setting(FlashKey, "f1"), at(10, "x", Root, "root1", FlashKey, "f1"), at(20, "x", Root, "root1")}, ""},
		"a flash is lost":                   {[]*Step{first().setting(FlashKey, "f1"), at(10, "x", Root, "root1")}, "I1 or I7"},
		"a flash is received twice":         {[]*Step{first().setting(FlashKey, "f1"), at(10, "x", Root, "root1", FlashKey, "f1"), at(11, "x", Root, "root1", FlashKey, "f1")}, "flash"},
		"a flash that was given back":       {[]*Step{first().setting(FlashKey, "f1"), at(10, "x", Root, "root1").givingBack(), at(11, "x", Root, "root1"), at(20, "x", Root, "root1", FlashKey, "f1")}, ""},
		"additions count":                   {[]*Step{first().adding("s1"), at(10, "x", Root, "root1", SumKey, "s1").adding("s2", "s3"), at(20, "x", Root, "root1", SumKey, "s1 s2 s3")}, ""},
		"an addition is lost":               {[]*Step{first().adding("s1"), at(10, "x", Root, "root1", SumKey, "s1").adding("s2", "s3"), at(20, "x", Root, "root1", SumKey, "s2 s3")}, "I1 or I7"},
		"the last addition is lost":         {[]*Step{first().adding("s1"), at(10, "x", Root, "root1", SumKey, "s1").adding("s2"), at(20, "x", Root, "root1", SumKey, "s1")}, "I1 or I7"},
		"an addition counts twice":          {[]*Step{first().adding("s1"), at(10, "x", Root, "root1", SumKey, "s1 s1")}, "I7"},
		"an addition that failed counts":    {[]*Step{first(), at(10, "x", Root, "root1").adding("s1").failing(), at(20, "x", Root, "root1", SumKey, "s1")}, ""},
		"one that failed does not count":    {[]*Step{first(), at(10, "x", Root, "root1").adding("s1").failing(), at(20, "x", Root, "root1")}, ""},
		"one that failed counts twice":      {[]*Step{first(), at(10, "x", Root, "root1").adding("s1").failing(), at(20, "x", Root, "root1", SumKey, "s1 s1")}, "I7"},
		"an addition of another session":    {[]*Step{first().adding("s1"), at(10, "y", SumKey, "s1")}, "I3"},
		"additions are flushed":             {[]*Step{first().adding("s1"), at(10, "x", Root, "root1", SumKey, "s1").flushing().adding("s2"), at(20, "x", SumKey, "s2")}, ""},
		"an addition outlives a flush":      {[]*Step{first().adding("s1"), at(10, "x", Root, "root1", SumKey, "s1").flushing().adding("s2"), at(20, "x", SumKey, "s1 s2")}, "I1"},
		"one that is flushed meanwhile":     {[]*Step{first(), at(10, "x", Root, "root1").adding("s1"), at(11, "x", Root, "root1").flushing().setting(Root, "root2"), at(20, "x", Root, "root2")}, ""},
		"sessions of an owner are ended":    {[]*Step{first(), endingOwned(10, ""), at(20, "x")}, ""},
		"one of an owner is not ended":      {[]*Step{first(), endingOwned(10, ""), at(20, "x", Root, "root1")}, "I2"},
		"ends that have failed":             {[]*Step{first(), endingOwned(10, "").failing(), at(20, "x", Root, "root1")}, ""},
		"one with a new ID is not ended":    {[]*Step{first(), at(10, "x", Root, "root1").until(30).renewing("y"), endingOwned(11, "").until(20), at(40, "y", Root, "root1")}, "I2"},
		"one that is younger than the ends": {[]*Step{endingOwned(0, ""), at(1, "x").setting(Root, "root1"), at(20, "x", Root, "root1")}, ""},
		"the session of the request stays":  {[]*Step{first(), endingOwned(10, "x"), at(20, "x", Root, "root1")}, ""},
		"it is lost":                        {[]*Step{first(), endingOwned(10, "x"), at(20, "x")}, "I1 or I7"},
		"its new ID is newer than the ends": {[]*Step{first(), endingOwned(10, "x"), at(20, "x", Root, "root1").renewing("y"), at(30, "y")}, "I1 or I7"},
		"another one is ended":              {[]*Step{first(), endingOwned(10, "y"), at(20, "x", Root, "root1")}, "I2"},
	} {
		t.Run(name, func(t *testing.T) {
			problem := Check(test.steps)
			if test.breaks == "" && problem != "" || !strings.HasPrefix(problem, test.breaks) || test.breaks != "" && problem == "" {
				t.Errorf("want a break of %q, got %q", test.breaks, problem)
			}
		})
	}
}
