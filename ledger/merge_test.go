package ledger

import (
	"bytes"
	"testing"
	"time"
)

// apart is a ledger in two places: both have gone on since one was copied from the other.
func apart(t *testing.T) (here, there folder) {
	t.Helper()
	here, there = newFolder(t), newFolder(t)
	mustRecord(t, here.Ledger, paidFact(t, theSession, payment1))
	mustRecord(t, there.Ledger, paidFact(t, theSession, payment1))
	return here, there
}

func merge(t *testing.T, into, from folder) Transferred {
	t.Helper()
	done, err := into.Import(t.Context(), bytes.NewReader(exported(t, from.Archive)))
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestExtensionsOfBothSidesCount(t *testing.T) {
	here, there := apart(t)
	second := extensionFact(t)
	second.Session, second.Payment = third, payment3
	mustRecord(t, here.Ledger, extensionFact(t))
	mustRecord(t, there.Ledger, second)
	if done := merge(t, here, there); done.Conflicts != 0 {
		t.Errorf("%+v", done)
	}
	want := paidAt.Add((30 + 7 + 7) * day)
	for _, session := range []string{theSession, theExtension, third} {
		if grant := mustGrant(t, here.Ledger, session); !grant.Until.Equal(want) {
			t.Errorf("by %s until %s, want %s", session, grant.Until, want)
		}
	}
	if again := merge(t, here, there); again.Records != 0 || again.Conflicts != 0 {
		t.Errorf("again: %+v", again)
	}
}

func TestFetchesOfBothSidesCount(t *testing.T) {
	here, there := apart(t)
	for _, fetch := range []struct {
		ledger folder
		holder string
	}{{here, "a"}, {here, "b"}, {there, "c"}} {
		if _, err := fetch.ledger.Take(t.Context(), Fetch, theSession, 5, fetch.holder, paidAt); err != nil {
			t.Fatal(err)
		}
	}
	merge(t, here, there)
	if taken, err := here.Taken(t.Context(), Fetch, theSession, 5); err != nil || taken != 3 {
		t.Errorf("%d fetches, %v", taken, err)
	}
}

// A device's token names its place.
func TestWhoHasAPlaceKeepsIt(t *testing.T) {
	here, there := apart(t)
	for _, device := range []struct {
		ledger folder
		holder string
	}{{here, "phone"}, {there, "tablet"}} {
		if _, err := device.ledger.Take(t.Context(), Device, theSession, 5, device.holder, paidAt); err != nil {
			t.Fatal(err)
		}
	}
	if done := merge(t, here, there); done.Conflicts != 1 {
		t.Errorf("%+v", done)
	}
	if holds, err := here.Holds(t.Context(), Device, theSession, 1, "phone"); err != nil || !holds {
		t.Errorf("%t, %v", holds, err)
	}
}

func TestTheLaterDecisionStands(t *testing.T) {
	type decision struct {
		what Kind
		hour int
	}
	revoked1, restored2, revoked3, restored4 := decision{Revoked, 1}, decision{Restored, 2}, decision{Revoked, 3}, decision{Restored, 4}
	for name, test := range map[string]struct {
		here, there []decision
		want        Kind
		conflicts   int
	}{
		"none here":            {nil, []decision{revoked1, restored2, revoked3}, Revoked, 0},
		"none there":           {[]decision{revoked1}, nil, Revoked, 0},
		"they went on":         {[]decision{revoked1}, []decision{revoked1, restored2}, "", 0},
		"we went on":           {[]decision{revoked1, restored2, revoked3}, []decision{revoked1, restored2}, Revoked, 0},
		"ours is later":        {[]decision{revoked3}, []decision{revoked1, restored2}, Revoked, 2},
		"theirs is later":      {[]decision{revoked1, restored2}, []decision{revoked3}, Revoked, 1},
		"theirs opens, later":  {[]decision{revoked3}, []decision{revoked1, restored4}, "", 2},
		"at once, theirs shut": {[]decision{revoked1, {Restored, 3}}, []decision{revoked3}, Revoked, 1},
		"at once, ours is":     {[]decision{revoked3}, []decision{revoked1, {Restored, 3}}, Revoked, 2},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := apart(t)
			for ledger, decisions := range map[*Ledger][]decision{here.Ledger: test.here, there.Ledger: test.there} {
				for _, made := range decisions {
					if err := ledger.Decide(t.Context(), theSession, made.what, "", paidAt.Add(time.Duration(made.hour)*time.Hour)); err != nil {
						t.Fatal(err)
					}
				}
			}
			done := merge(t, here, there)
			if grant := mustGrant(t, here.Ledger, theSession); grant.ClosedFor != test.want || done.Conflicts != test.conflicts {
				t.Errorf("closed for %q, want %q; %+v", grant.ClosedFor, test.want, done)
			}
		})
	}
}
