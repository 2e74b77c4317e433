package ledger

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/terms"
)

const (
	theExtension = "cs_2"
	third        = "cs_3"
	payment3     = "bpay_3"
	day          = 24 * time.Hour
)

// boughtAt is when the extension is paid in these tests: ten days before the end
// of the month that it extends.
var (
	boughtAt = paidAt.Add(20 * day)
	from     = paidAt.Add(30 * day)
)

// extensionFact is a payment for a week more than the month of theSession.
func extensionFact(t testing.TB) Fact {
	f := paidFact(t, theExtension, payment2)
	f.At = boughtAt
	f.Terms.Access = terms.Access(7 * day)
	f.Terms.Extends, f.Terms.From = theSession, from
	return f
}

func changed(f Fact, change func(*Fact)) Fact {
	change(&f)
	return f
}

func TestAnExtensionMovesTheEndOfThePurchase(t *testing.T) {
	extended := paidFact(t, theSession, payment1)
	another := changed(extensionFact(t), func(f *Fact) {
		f.Session, f.Payment, f.At = third, payment3, boughtAt.Add(-day) // from another device, that saw the same end
	})
	for _, test := range []struct {
		name  string
		facts []Fact
		want  time.Time
	}{
		{"paid before the end", []Fact{extensionFact(t)}, from.Add(7 * day)},
		{"paid at the end", []Fact{changed(extensionFact(t), func(f *Fact) { f.At = from })}, from.Add(7 * day)},
		{"paid after the end", []Fact{changed(extensionFact(t), func(f *Fact) { f.At = from.Add(time.Hour) })}, from.Add(7*day + time.Hour)},
		{"for ever", []Fact{changed(extensionFact(t), func(f *Fact) { f.Terms.Access = terms.Forever })}, time.Time{}},
		{"twice, from two devices", []Fact{extensionFact(t), another}, from.Add(14 * day)},
		{"delivered again and again", []Fact{extensionFact(t), extensionFact(t), extensionFact(t)}, from.Add(7 * day)},
		{"refunded", []Fact{extensionFact(t), outcomeFact(Refunded, "", payment2)}, from},
		{"twice, and the first refunded", []Fact{extensionFact(t), another, outcomeFact(Refunded, third, "")}, from.Add(7 * day)},
		{"of too little money", []Fact{changed(extensionFact(t), func(f *Fact) { f.Kind = Mismatch })}, from},
	} {
		for order, arrange := range map[string]func([]Fact){"in order": func([]Fact) {}, "in reverse": slices.Reverse[[]Fact]} {
			t.Run(test.name+" "+order, func(t *testing.T) {
				facts := append([]Fact{extended}, test.facts...)
				arrange(facts)
				ledger := New(newDisk(), 0)
				mustRecord(t, ledger, facts...)
				grant := mustGrant(t, ledger, theSession)
				if !grant.Until.Equal(test.want) || grant.Until.IsZero() != test.want.IsZero() || grant.ClosedFor != "" {
					t.Errorf("until %s, closed for %q, want %s", grant.Until, grant.ClosedFor, test.want)
				}
				if !sameFact(grant.Fact, extended) {
					t.Errorf("the grant is of %+v", grant.Fact)
				}
			})
		}
	}
}

func TestAnExtensionIsAPartOfThePurchase(t *testing.T) {
	ledger := New(newDisk(), 0)
	mustRecord(t, ledger, paidFact(t, theSession, payment1), extensionFact(t))
	if grant := mustGrant(t, ledger, theExtension); grant.Session != theSession || !grant.Until.Equal(from.Add(7*day)) {
		t.Errorf("the extension's grant is of %q until %s", grant.Session, grant.Until)
	}
	mustRecord(t, ledger, outcomeFact(Refunded, "", payment2))
	if grant := mustGrant(t, ledger, theExtension); grant.Session != theExtension || grant.ClosedFor != Refunded {
		t.Errorf("refunded: the extension's grant is of %q, closed for %q", grant.Session, grant.ClosedFor)
	}
	if _, err := ledger.Grant(t.Context(), third); !errors.Is(err, ErrNotPaid) {
		t.Errorf("an extension that is not paid: %v", err)
	}
}

func TestAnExtensionDoesNotGiveTheTimeThatWasRefunded(t *testing.T) {
	for _, test := range []struct {
		name     string
		outcomes []Kind
		access   terms.Access // of the session that is extended
		want     time.Time
	}{
		{"refunded", []Kind{Refunded}, terms.Access(30 * day), boughtAt.Add(7 * day)},
		{"disputed", []Kind{Disputed}, terms.Access(30 * day), boughtAt.Add(7 * day)},
		{"dispute lost", []Kind{Disputed, DisputeLost}, terms.Access(30 * day), boughtAt.Add(7 * day)},
		{"dispute won", []Kind{Disputed, DisputeWon}, terms.Access(30 * day), from.Add(7 * day)},
		{"refunded, which was for ever", []Kind{Refunded}, terms.Forever, boughtAt.Add(7 * day)},
		{"for ever, and not refunded", nil, terms.Forever, time.Time{}},
	} {
		for how, id := range map[string]name{"session": {theSession, ""}, "payment": {"", payment1}} {
			t.Run(test.name+", by its "+how, func(t *testing.T) {
				ledger := New(newDisk(), 0)
				extended := paidFact(t, theSession, payment1)
				extended.Terms.Access = test.access
				mustRecord(t, ledger, extended, extensionFact(t))
				for _, kind := range test.outcomes {
					mustRecord(t, ledger, outcomeFact(kind, id.session, id.payment))
				}
				for _, session := range []string{theSession, theExtension} {
					grant := mustGrant(t, ledger, session)
					if !grant.Until.Equal(test.want) || grant.ClosedFor != "" {
						t.Errorf("%s: until %s, closed for %q, want %s", session, grant.Until, grant.ClosedFor, test.want)
					}
				}
			})
		}
	}
}

func TestAPurchaseIsClosedWhenAllOfItIs(t *testing.T) {
	ledger := New(newDisk(), 0)
	mustRecord(t, ledger, paidFact(t, theSession, payment1), extensionFact(t),
		outcomeFact(Disputed, theSession, ""), outcomeFact(Refunded, theExtension, ""))
	if grant := mustGrant(t, ledger, theSession); grant.ClosedFor != Disputed {
		t.Errorf("closed for %q", grant.ClosedFor)
	}
}

func TestWhatExtendsNothingStandsAlone(t *testing.T) {
	other := paidFact(t, theSession, payment1)
	other.Terms.Pass = "dear"
	for name, test := range map[string]struct {
		facts []Fact
		want  time.Time
	}{
		"of a session that is not known":      {[]Fact{extensionFact(t)}, from.Add(7 * day)},
		"of a session that paid too little":   {[]Fact{changed(other, func(f *Fact) { f.Kind = Mismatch }), extensionFact(t)}, from.Add(7 * day)},
		"S4 of another pass":                  {[]Fact{other, extensionFact(t)}, from.Add(7 * day)},
		"of itself":                           {[]Fact{changed(extensionFact(t), func(f *Fact) { f.Terms.Extends = theExtension })}, from.Add(7 * day)},
		"of nothing, and paid after its time": {[]Fact{changed(extensionFact(t), func(f *Fact) { f.At = from.Add(day) })}, from.Add(8 * day)},
	} {
		t.Run(name, func(t *testing.T) {
			ledger := New(newDisk(), 0)
			mustRecord(t, ledger, test.facts...)
			grant := mustGrant(t, ledger, theExtension)
			if grant.Session != theExtension || !grant.Until.Equal(test.want) {
				t.Errorf("of %q until %s, want %s", grant.Session, grant.Until, test.want)
			}
		})
	}
	ledger := New(newDisk(), 0)
	mustRecord(t, ledger, other, extensionFact(t))
	if grant := mustGrant(t, ledger, theSession); !grant.Until.Equal(from) {
		t.Errorf("S4: a cheap pass extends a dear one until %s", grant.Until)
	}
}

func TestAPlaceThatAnotherNodeOverwroteIsHealed(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	mustRecord(t, ledger, paidFact(t, theSession, payment1), extensionFact(t))
	another := changed(extensionFact(t), func(f *Fact) { f.Session, f.Payment = third, payment3 })
	mustRecord(t, ledger, another)
	// Both nodes took the first place; the other's came last.
	storage.mu.Lock()
	delete(storage.records, key(Extension, placeID(theSession, 2)))
	storage.mu.Unlock()
	if grant := mustGrant(t, ledger, third); !grant.Until.Equal(from.Add(14 * day)) {
		t.Errorf("who has paid sees %s", grant.Until)
	}
	if err := ledger.Extend(t.Context(), theSession, third, boughtAt); err != nil {
		t.Fatal(err)
	}
	if grant := mustGrant(t, ledger, theSession); !grant.Until.Equal(from.Add(14 * day)) {
		t.Errorf("after it was healed, until %s", grant.Until)
	}
}

func TestD1AnExtensionThatCannotBeNotedIsNotAcknowledged(t *testing.T) {
	trouble := errors.New("read-only file system")
	for _, broken := range []string{key(Extension, placeID(theSession, 1)), key(eventful, theSession), key(Paid, theExtension)} {
		storage := newDisk()
		ledger := New(storage, 0)
		mustRecord(t, ledger, paidFact(t, theSession, payment1))
		storage.onStore = func(key string) error {
			if key == broken {
				return trouble
			}
			return nil
		}
		if _, err := ledger.Record(t.Context(), extensionFact(t)); !errors.Is(err, trouble) {
			t.Errorf("%s: %v", broken, err)
		}
		storage.onStore = nil
		mustRecord(t, ledger, extensionFact(t))
		if grant := mustGrant(t, ledger, theSession); !grant.Until.Equal(from.Add(7 * day)) {
			t.Errorf("%s: after the second delivery until %s", broken, grant.Until)
		}
	}
}

func TestAPlaceTakenTwiceCountsOnce(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	mustRecord(t, ledger, paidFact(t, theSession, payment1), extensionFact(t))
	first, _ := storage.Load(t.Context(), key(Extension, placeID(theSession, 1)))
	storage.put(key(Extension, placeID(theSession, 2)), first)
	if grant := mustGrant(t, ledger, theSession); !grant.Until.Equal(from.Add(7 * day)) {
		t.Errorf("until %s", grant.Until)
	}
}

func TestExtensionsAreBounded(t *testing.T) {
	ledger := New(newDisk(), 0)
	mustRecord(t, ledger, paidFact(t, theSession, payment1))
	for i := range extensionPlaces + 1 {
		mustRecord(t, ledger, changed(extensionFact(t), func(f *Fact) {
			f.Session, f.Payment = fmt.Sprintf("cs_more_%d", i), fmt.Sprintf("bpay_more_%d", i)
		}))
	}
	if grant := mustGrant(t, ledger, theSession); !grant.Until.Equal(from.Add(extensionPlaces * 7 * day)) {
		t.Errorf("until %s", grant.Until)
	}
	// What was acknowledged counts for who has paid it.
	last := fmt.Sprintf("cs_more_%d", extensionPlaces)
	if grant := mustGrant(t, ledger, last); grant.Session != last || !grant.Until.Equal(from.Add(7*day)) {
		t.Errorf("the one too many is of %s until %s", grant.Session, grant.Until)
	}
}

func TestWhatAnExtensionCosts(t *testing.T) {
	for _, test := range []struct {
		name    string
		session string
		facts   []Fact
		loads   int
	}{
		{"none", theSession, nil, 3},
		{"one", theSession, []Fact{extensionFact(t)}, 3 + 4 + 1 + 2 + 3},
		{"one, by its session", theExtension, []Fact{extensionFact(t)}, 3 + 3 + 4 + 1 + 2 + 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			storage := newDisk()
			ledger := New(storage, 0)
			mustRecord(t, ledger, append(test.facts, paidFact(t, theSession, payment1))...)
			before, _ := storage.counts()
			mustGrant(t, ledger, test.session)
			if loads, _ := storage.counts(); loads-before != test.loads {
				t.Errorf("%d loads, want %d", loads-before, test.loads)
			}
		})
	}
}

func TestD2WhatStorageCannotTellAboutAPartIsAnError(t *testing.T) {
	trouble := errors.New("input/output error")
	for _, kind := range []Kind{Paid, eventful, Refunded, Disputed, DisputeWon, DisputeLost} {
		for _, session := range []string{theSession, theExtension} {
			t.Run(string(kind)+" of "+session, func(t *testing.T) {
				storage := newDisk()
				ledger := New(storage, 0)
				mustRecord(t, ledger, paidFact(t, theSession, payment1), extensionFact(t),
					outcomeFact(Disputed, theSession, ""), outcomeFact(Disputed, theExtension, ""), outcomeFact(DisputeWon, theExtension, ""))
				storage.onLoad = func(at string) error {
					if at == key(kind, session) {
						return trouble
					}
					return nil
				}
				for _, asked := range []string{theSession, theExtension} {
					if grant, err := ledger.Grant(t.Context(), asked); !errors.Is(err, trouble) || grant != (Grant{}) {
						t.Errorf("%s: %+v %v", asked, grant, err)
					}
				}
			})
		}
	}
}

func TestD4AGarbledExtensionClosesNothingElse(t *testing.T) {
	for _, garbled := range []string{key(Extension, placeID(theSession, 1)), key(Paid, theExtension)} {
		storage := newDisk()
		ledger := New(storage, 0)
		mustRecord(t, ledger, paidFact(t, theSession, payment1), extensionFact(t))
		storage.put(garbled, []byte("{"))
		if grant := mustGrant(t, ledger, theSession); !grant.Until.Equal(from) {
			t.Errorf("%s: until %s", garbled, grant.Until)
		}
		mustRecord(t, ledger, extensionFact(t))
		if grant := mustGrant(t, ledger, theSession); !grant.Until.Equal(from.Add(7 * day)) {
			t.Errorf("%s: after the next delivery until %s", garbled, grant.Until)
		}
	}
}
