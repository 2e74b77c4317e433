package ledger

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/terms"
)

func mustDecide(t *testing.T, l *Ledger, session string, decisions ...Kind) {
	t.Helper()
	for _, decision := range decisions {
		if err := l.Decide(t.Context(), session, decision, "why", paidAt.Add(time.Hour)); err != nil {
			t.Fatalf("deciding %s: %v", decision, err)
		}
	}
}

func TestTheLastDecisionCounts(t *testing.T) {
	for _, test := range []struct {
		name   string
		facts  []Fact
		decide []Kind
		want   Kind
	}{
		{"none", nil, nil, ""},
		{"revoked", nil, []Kind{Revoked}, Revoked},
		{"restored", nil, []Kind{Revoked, Restored}, ""},
		{"revoked again", nil, []Kind{Revoked, Restored, Revoked}, Revoked},
		{"a refund is final", []Fact{outcomeFact(Refunded, theSession, payment1)}, []Kind{Revoked, Restored}, Refunded},
		{"a dispute stays", []Fact{outcomeFact(Disputed, "", payment1)}, []Kind{Revoked}, Disputed},
	} {
		t.Run(test.name, func(t *testing.T) {
			ledger := New(newDisk(), 0)
			mustRecord(t, ledger, append(test.facts, paidFact(t, theSession, payment1))...)
			mustDecide(t, ledger, theSession, test.decide...)
			if got := mustGrant(t, ledger, theSession).ClosedFor; got != test.want {
				t.Errorf("closed for %q, want %q", got, test.want)
			}
		})
	}
}

// Whatever becomes of its payments, and in whatever order: a revoked purchase is shut.
func TestADecisionIsAboutTheWholePurchase(t *testing.T) {
	type step func(*testing.T, *Ledger)
	outcome := func(kind Kind, session string) step {
		return func(t *testing.T, l *Ledger) { mustRecord(t, l, outcomeFact(kind, session, "")) }
	}
	revoke := func(t *testing.T, l *Ledger) { mustDecide(t, l, theSession, Revoked) }
	for name, steps := range map[string][]step{
		"revoked":                              {revoke},
		"revoked, first payment refunded":      {revoke, outcome(Refunded, theSession)},
		"first payment refunded, then revoked": {outcome(Refunded, theSession), revoke},
		"revoked, first payment disputed":      {revoke, outcome(Disputed, theSession)},
		"revoked, dispute won":                 {revoke, outcome(Disputed, theSession), outcome(DisputeWon, theSession)},
		"revoked, extension refunded":          {revoke, outcome(Refunded, theExtension)},
		"extension refunded, then revoked":     {outcome(Refunded, theExtension), revoke},
		"all refunded":                         {revoke, outcome(Refunded, theSession), outcome(Refunded, theExtension)},
	} {
		t.Run(name, func(t *testing.T) {
			ledger := New(newDisk(), 0)
			mustRecord(t, ledger, paidFact(t, theSession, payment1), extensionFact(t))
			for _, step := range steps {
				step(t, ledger)
			}
			for _, session := range []string{theSession, theExtension} {
				if grant := mustGrant(t, ledger, session); grant.ClosedFor == "" {
					t.Errorf("%s opens until %s", session, grant.Until)
				}
				if whole, err := ledger.WholeOf(t.Context(), session); err != nil || whole != theSession {
					t.Errorf("%s is a part of %s, %v", session, whole, err)
				}
			}
		})
	}
	ledger := New(newDisk(), 0)
	mustRecord(t, ledger, paidFact(t, theSession, payment1), extensionFact(t))
	mustDecide(t, ledger, theSession, Revoked, Restored)
	if grant := mustGrant(t, ledger, theExtension); grant.ClosedFor != "" {
		t.Errorf("restored, and closed for %q", grant.ClosedFor)
	}
}

func TestDecisionsThatCannotBe(t *testing.T) {
	ledger := New(newDisk(), 0)
	mustRecord(t, ledger, paidFact(t, theSession, payment1))
	for _, test := range []struct {
		session  string
		decision Kind
		want     error
	}{
		{"cs_other", Revoked, ErrNotPaid},
		{theSession, Restored, ErrDecided},
		{theSession, Refunded, nil},
	} {
		err := ledger.Decide(t.Context(), test.session, test.decision, "", paidAt)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s of %s: %v, want %v", test.decision, test.session, err, test.want)
		}
	}
}

// A decision that cannot be read could be the one that withdraws access.
func TestD4AGarbledDecisionOpensNothing(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	mustRecord(t, ledger, paidFact(t, theSession, payment1))
	mustDecide(t, ledger, theSession, Revoked)
	name, _ := storage.record(t, Decision)
	storage.put(name, []byte("{"))
	if grant, err := ledger.Grant(t.Context(), theSession); !errors.Is(err, ErrGarbled) {
		t.Errorf("%+v, %v", grant, err)
	}
}

func TestWhatIsGivenOpensWithoutAPayment(t *testing.T) {
	ledger := New(newDisk(), 0)
	given := Fact{At: paidAt, Note: "for the review", Terms: soldTerms(t)}
	given.Terms.Price.Currency = "" // nothing was paid
	session, err := ledger.Give(t.Context(), given)
	if err != nil || !IsGiven(session) {
		t.Fatalf("%q, %v", session, err)
	}
	grant := mustGrant(t, ledger, session)
	if !grant.Open(paidAt) || grant.Open(paidAt.Add(31*24*time.Hour)) || grant.Note != "for the review" || grant.Terms.Pass != "premium" {
		t.Errorf("%+v", grant)
	}
	mustDecide(t, ledger, session, Revoked)
	if grant := mustGrant(t, ledger, session); grant.ClosedFor != Revoked {
		t.Errorf("closed for %q", grant.ClosedFor)
	}
}

// What an event states is never taken for something given, whatever its ids look like.
func TestNoEventGivesAnything(t *testing.T) {
	ledger := New(newDisk(), 0)
	fact := paidFact(t, givenPrefix+"x", payment1)
	mustRecord(t, ledger, fact)
	if _, err := ledger.Grant(t.Context(), fact.Session); !errors.Is(err, ErrNotPaid) {
		t.Errorf("%v", err)
	}
	fact.Kind = Given
	if _, err := ledger.Record(t.Context(), fact); err == nil {
		t.Error("an event gave access")
	}
	priceless := soldTerms(t).Metadata()
	for name := range priceless {
		if strings.HasSuffix(name, "currency") || strings.HasSuffix(name, "amount") {
			delete(priceless, name)
		}
	}
	if _, err := terms.FromMetadata(priceless); err == nil {
		t.Error("an event without a price was read")
	}
}
