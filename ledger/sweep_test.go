package ledger

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/terms"
)

// extending is a purchase that extends cs_0, paid when the part before it is about to end.
func extending(t *testing.T, number int, at time.Time, access terms.Access) Fact {
	part := sold(t, fmt.Sprintf("cs_%d", number), at, access)
	part.Terms.Extends, part.Terms.From = "cs_0", at.Add(day)
	return part
}

// However a purchase is made up, the sweep takes all of it or nothing, and leaves no part
// that would stand alone.
func TestTheSweepTakesPurchasesAsAWhole(t *testing.T) {
	month, year := terms.Access(30*day), terms.Access(365*day)
	for _, test := range []struct {
		name    string
		refund  string // of these
		revoke  bool
		lengths []terms.Access
		ends    time.Duration // after the first payment
	}{
		{"one part", "", false, []terms.Access{month}, 30 * day},
		{"extended", "", false, []terms.Access{month, month, month}, 90 * day},
		{"a long extension in the middle refunded", "cs_1", false, []terms.Access{month, year, month}, 60 * day},
		{"the first payment refunded", "cs_0", false, []terms.Access{month, month}, 59 * day},
		{"revoked", "", true, []terms.Access{month, month, month, month}, 120 * day},
	} {
		t.Run(test.name, func(t *testing.T) {
			archive := newFolder(t)
			for number, length := range test.lengths {
				fact := sold(t, "cs_0", paidAt, length)
				if number > 0 {
					fact = extending(t, number, paidAt.Add(29*day), length)
				}
				mustRecord(t, archive.Ledger, fact)
			}
			if test.refund != "" {
				mustRecord(t, archive.Ledger, outcomeFact(Refunded, test.refund, ""))
			}
			if test.revoke {
				mustDecide(t, archive.Ledger, "cs_0", Revoked)
			}
			last := fmt.Sprintf("cs_%d", len(test.lengths)-1)
			over := paidAt.Add(test.ends + MinKeep)
			early, err := archive.Sweep(t.Context(), over.Add(-time.Hour), MinKeep)
			if err != nil || early.Purchases != 0 || early.Kept != len(test.lengths) {
				t.Fatalf("an hour early: %+v, %v", early, err)
			}
			if grant := mustGrant(t, archive.Ledger, last); test.revoke != (grant.ClosedFor == Revoked) {
				t.Errorf("%+v", grant)
			}
			swept, err := archive.Sweep(t.Context(), over.Add(time.Hour), MinKeep)
			if err != nil || swept.Purchases != len(test.lengths) || swept.Kept != 0 {
				t.Errorf("then: %+v, %v", swept, err)
			}
			if grant, err := archive.Grant(t.Context(), last); !errors.Is(err, ErrNotPaid) {
				t.Errorf("%s opens until %s, %v", last, grant.Until, err)
			}
		})
	}
}
