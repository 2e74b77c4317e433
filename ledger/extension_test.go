package ledger

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/terms"
)

const (
	theExtension = "cs_2"
	day          = 24 * time.Hour
)

// boughtAt is when the extension is paid in these tests: ten days before the end
// of the month that it extends.
var (
	boughtAt = paidAt.Add(20 * day)
	from     = paidAt.Add(30 * day)
)

// extensionFact is a payment for a week after the month of theSession.
func extensionFact(t testing.TB) Fact {
	f := paidFact(t, theExtension, payment2)
	f.At = boughtAt
	f.Terms.Access = terms.Access(7 * day)
	f.Terms.Extends, f.Terms.From = theSession, from
	return f
}

func TestAnExtensionEndsLaterByWhatItSells(t *testing.T) {
	extended := paidFact(t, theSession, payment1)
	changed := func(f Fact, change func(*Fact)) Fact {
		change(&f)
		return f
	}
	late := changed(extensionFact(t), func(f *Fact) { f.At = from.Add(time.Second) })
	for _, test := range []struct {
		name  string
		facts []Fact
		want  time.Time
	}{
		{"paid before the end", []Fact{extended, extensionFact(t)}, from.Add(7 * day)},
		{"paid at the end", []Fact{extended, changed(extensionFact(t), func(f *Fact) { f.At = from })}, from.Add(7 * day)},
		{"paid after the end", []Fact{extended, late}, from.Add(7*day + time.Second)},
		{"for ever", []Fact{extended, changed(extensionFact(t), func(f *Fact) { f.Terms.Access = terms.Forever })}, time.Time{}},
		{"of a session that is not known", []Fact{extensionFact(t)}, from.Add(7 * day)},
		{"of a session that paid too little", []Fact{changed(extended, func(f *Fact) { f.Kind = Mismatch }), extensionFact(t)}, from.Add(7 * day)},
		{"of nothing, with a time", []Fact{extended, changed(extensionFact(t), func(f *Fact) { f.Terms.Extends, f.Terms.From = "", time.Time{} })}, boughtAt.Add(7 * day)},
	} {
		t.Run(test.name, func(t *testing.T) {
			ledger := New(newDisk(), 0)
			mustRecord(t, ledger, test.facts...)
			grant := mustGrant(t, ledger, theExtension)
			if !grant.Until.Equal(test.want) || grant.Until.IsZero() != test.want.IsZero() {
				t.Errorf("until %s, want %s", grant.Until, test.want)
			}
			if want := test.facts[len(test.facts)-1]; !sameFact(grant.Fact, want) {
				t.Errorf("got %+v, want %+v", grant.Fact, want)
			}
		})
	}
}

func TestAnExtensionDoesNotGiveTheTimeThatWasRefunded(t *testing.T) {
	for _, test := range []struct {
		name     string
		outcomes []Kind
		access   terms.Access // of the session that is extended
		from     time.Time    // where the extension's access begins
	}{
		{"refunded", []Kind{Refunded}, terms.Access(30 * day), boughtAt},
		{"disputed", []Kind{Disputed}, terms.Access(30 * day), boughtAt},
		{"dispute lost", []Kind{Disputed, DisputeLost}, terms.Access(30 * day), boughtAt},
		{"dispute won", []Kind{Disputed, DisputeWon}, terms.Access(30 * day), from},
		{"refunded, which was a part of the time", []Kind{Refunded}, terms.Access(4 * day), from.Add(-4 * day)},
		{"refunded, until the moment of the payment", []Kind{Refunded}, terms.Access(10 * day), boughtAt},
		{"refunded, which was for ever", []Kind{Refunded}, terms.Forever, boughtAt},
		{"for ever, and not refunded", nil, terms.Forever, from},
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
				grant := mustGrant(t, ledger, theExtension)
				if want := test.from.Add(7 * day); !grant.Until.Equal(want) {
					t.Errorf("until %s, want %s", grant.Until, want)
				}
				if grant.ClosedFor != "" {
					t.Errorf("closed for %s of another session", grant.ClosedFor)
				}
			})
		}
	}
}

func TestAnExtensionThatIsRefundedIsClosedAndLeavesTheOtherOpen(t *testing.T) {
	ledger := New(newDisk(), 0)
	mustRecord(t, ledger, paidFact(t, theSession, payment1), extensionFact(t), outcomeFact(Refunded, "", payment2))
	if grant := mustGrant(t, ledger, theExtension); grant.ClosedFor != Refunded || !grant.Until.Equal(from.Add(7*day)) {
		t.Errorf("closed for %q, until %s", grant.ClosedFor, grant.Until)
	}
	if grant := mustGrant(t, ledger, theSession); !grant.Open(boughtAt) || !grant.Until.Equal(from) {
		t.Errorf("the extended one: closed for %q, until %s", grant.ClosedFor, grant.Until)
	}
}

func TestOnlyTheSessionThatIsExtendedIsAsked(t *testing.T) {
	ledger := New(newDisk(), 0)
	third := extensionFact(t)
	third.Session, third.Payment = "cs_3", "bpay_3"
	third.Terms.Extends, third.Terms.From = theExtension, from.Add(7*day)
	mustRecord(t, ledger, paidFact(t, theSession, payment1), extensionFact(t), third, outcomeFact(Refunded, theSession, ""))
	if got, want := mustGrant(t, ledger, "cs_3").Until, from.Add(14*day); !got.Equal(want) {
		t.Errorf("until %s, want %s", got, want)
	}
	mustRecord(t, ledger, outcomeFact(Refunded, theExtension, ""))
	if got, want := mustGrant(t, ledger, "cs_3").Until, from.Add(7*day); !got.Equal(want) {
		t.Errorf("after a refund of the one before: until %s, want %s", got, want)
	}
}

func TestAnExtensionOfItselfEnds(t *testing.T) {
	ledger := New(newDisk(), 0)
	f := extensionFact(t)
	f.Terms.Extends = theExtension
	mustRecord(t, ledger, f)
	if got, want := mustGrant(t, ledger, theExtension).Until, from.Add(7*day); !got.Equal(want) {
		t.Errorf("until %s, want %s", got, want)
	}
}

func TestAnExtensionCostsThreeReadsMore(t *testing.T) {
	late := extensionFact(t)
	late.At = from
	forever := extensionFact(t)
	forever.Terms.Access = terms.Forever
	chained := paidFact(t, theSession, payment1)
	chained.Terms.Extends, chained.Terms.From = "cs_0", paidAt.Add(day)
	for _, test := range []struct {
		name  string
		facts []Fact
		loads int
	}{
		{"an extension", []Fact{paidFact(t, theSession, payment1), extensionFact(t)}, 6},
		{"of an extension", []Fact{chained, extensionFact(t)}, 6},
		{"of what is not known", []Fact{extensionFact(t)}, 4},
		{"paid too late to follow on", []Fact{paidFact(t, theSession, payment1), late}, 3},
		{"for ever", []Fact{paidFact(t, theSession, payment1), forever}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			storage := newDisk()
			ledger := New(storage, 0)
			mustRecord(t, ledger, test.facts...)
			before, _ := storage.counts()
			mustGrant(t, ledger, theExtension)
			if loads, _ := storage.counts(); loads-before != test.loads {
				t.Errorf("%d loads, want %d", loads-before, test.loads)
			}
		})
	}
}

func TestD2WhatStorageCannotTellAboutTheExtendedSessionIsAnError(t *testing.T) {
	trouble := errors.New("input/output error")
	for _, kind := range []Kind{Paid, adverse, Refunded, Disputed, DisputeWon, DisputeLost} {
		for name, test := range map[string]struct {
			inflict func(d *disk, broken string)
			want    error
		}{
			"cannot be read": {func(d *disk, broken string) {
				d.onLoad = func(key string) error {
					if key == broken {
						return trouble
					}
					return nil
				}
			}, trouble},
			"is garbled": {func(d *disk, broken string) { d.put(broken, []byte("{")) }, ErrGarbled},
		} {
			t.Run(string(kind)+" "+name, func(t *testing.T) {
				storage := newDisk()
				ledger := New(storage, 0)
				mustRecord(t, ledger, paidFact(t, theSession, payment1), extensionFact(t), outcomeFact(Disputed, theSession, ""))
				test.inflict(storage, key(kind, theSession))
				grant, err := ledger.Grant(t.Context(), theExtension)
				if !errors.Is(err, test.want) || errors.Is(err, ErrNotPaid) {
					t.Errorf("got %v, want %v", err, test.want)
				}
				if grant != (Grant{}) {
					t.Errorf("a grant %+v beside the error", grant)
				}
				mustRecord(t, ledger, outcomeFact(Refunded, theExtension, ""))
				if grant := mustGrant(t, ledger, theExtension); grant.ClosedFor != Refunded {
					t.Errorf("refunded itself: closed for %q", grant.ClosedFor)
				}
			})
		}
	}
}
