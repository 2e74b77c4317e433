package ledger_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/money"
)

// payAt records a payment at a time after start.
func (w world) payAt(t testing.TB, after time.Duration, p ledger.Payment) string {
	t.Helper()
	w.clock.mu.Lock()
	w.clock.at = start.Add(after)
	w.clock.mu.Unlock()
	p.PaidAt = start.Add(after)
	return w.pay(t, p)
}

// tellAt records an event at a time after start.
func (w world) tellAt(t testing.TB, after time.Duration, e ledger.Event) {
	t.Helper()
	w.clock.mu.Lock()
	w.clock.at = start.Add(after)
	w.clock.mu.Unlock()
	e.OccurredAt = start.Add(after)
	w.tell(t, e)
}

func price(t testing.TB, amount, currency string) money.Price {
	t.Helper()
	p, err := money.ParsePaid(amount, currency)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sold is a payment of a product at a price.
func sold(t testing.TB, session, product, amount, currency string) ledger.Payment {
	t.Helper()
	p := payment(session)
	p.Terms.Pass, p.Terms.Price = product, price(t, amount, currency)
	p.Paid, p.PaidRaw = p.Terms.Price, amount+" "+currency
	return p
}

func underpaid(t testing.TB, session string) ledger.Payment {
	t.Helper()
	p := payment(session)
	p.Paid, p.PaidRaw, p.Mismatch = price(t, "1.00", "usd"), "1.00 usd", true
	return p
}

func (w world) list(t testing.TB, f ledger.Filter) []ledger.Listed {
	t.Helper()
	all, err := w.List(t.Context(), f)
	must(t, err)
	return all
}

// sessions are those of the last payments that a list shows.
func (w world) sessions(t testing.TB, f ledger.Filter) string {
	t.Helper()
	var found []string
	for _, listed := range w.list(t, f) {
		found = append(found, listed.LastPayment.SessionID)
	}
	return strings.Join(found, " ")
}

const day = 24 * time.Hour

func TestListFilters(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		w := newWorld(t, on)
		w.payAt(t, 0, payment("old"))                             // expired on day 40
		w.payAt(t, 1*day, sold(t, "book", "book", "9.00", "eur")) // expired
		w.payAt(t, 15*day, payment("refunded"))                   //
		w.payAt(t, 16*day, payment("lost"))                       //
		w.payAt(t, 17*day, payment("open dispute"))               //
		id := w.payAt(t, 18*day, payment("revoked"))              //
		w.payAt(t, 19*day, underpaid(t, "wrong"))                 //
		w.payAt(t, 20*day, payment("base"))                       //
		w.payAt(t, 21*day, extension("extended", "base"))         //
		w.payAt(t, 22*day, payment("other", "pay_a", "pay_b"))    //
		w.payAt(t, 23*day, extension("lifted", "old"))            // the first purchase is active again
		w.tell(t, event(ledger.EventRefunded, "refunded"))
		w.tell(t, event(ledger.EventDisputed, "lost"))
		w.tell(t, event(ledger.EventDisputeLost, "lost"))
		w.tell(t, event(ledger.EventDisputed, "", "pay_open dispute"))
		must(t, errorOf(w.Decide(t.Context(), id, ledger.Revoke, "why")))
		given := payment("")
		given.Source, given.SessionID, given.Note = ledger.FromOperator, "given", "review copy"
		w.payAt(t, 24*day, given)
		w.clock.advance(16 * day)
		for name, test := range map[string]struct {
			filter ledger.Filter
			want   string
		}{
			"everything":    {ledger.Filter{}, "given lifted other extended wrong revoked open dispute lost refunded book"},
			"newest":        {ledger.Filter{Limit: 2}, "given lifted"},
			"product":       {ledger.Filter{Product: "book"}, "book"},
			"another site":  {ledger.Filter{Site: "https://example.org"}, ""},
			"site":          {ledger.Filter{Site: "https://example.com", Limit: 1}, "given"},
			"active":        {ledger.Filter{Status: ledger.Active}, "given lifted other extended"},
			"expired":       {ledger.Filter{Status: ledger.Expired}, "book"},
			"refunded":      {ledger.Filter{Status: ledger.Refunded}, "lost refunded"},
			"disputed":      {ledger.Filter{Status: ledger.Disputed}, "open dispute"},
			"revoked":       {ledger.Filter{Status: ledger.Revoked}, "revoked"},
			"mismatched":    {ledger.Filter{Status: ledger.Mismatched}, "wrong"},
			"from":          {ledger.Filter{From: start.Add(22 * day)}, "given lifted other"},
			"to":            {ledger.Filter{To: start.Add(15 * day)}, "book"},
			"a span":        {ledger.Filter{From: start.Add(16 * day), To: start.Add(18 * day)}, "open dispute lost"},
			"payment id":    {ledger.Filter{Query: "pay_b"}, "other"},
			"session":       {ledger.Filter{Query: "base"}, "extended"},
			"purchase":      {ledger.Filter{Query: ledger.PurchaseID("old")[:10]}, "lifted"},
			"query, status": {ledger.Filter{Query: "base", Status: ledger.Refunded}, ""},
			"query, to":     {ledger.Filter{Query: "base", To: start.Add(21 * day)}, ""},
			"unknown":       {ledger.Filter{Query: "nothing"}, ""},
		} {
			if got := w.sessions(t, test.filter); got != test.want {
				t.Errorf("%s: %q, want %q", name, got, test.want)
			}
		}
	})
}

func TestListTellsOfTheLastPayment(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		w.payAt(t, 0, payment("base"))
		w.payAt(t, day, extension("more", "base"))
		given := payment("given")
		given.Source, given.Note = ledger.FromOperator, "review copy"
		w.payAt(t, 2*day, given)
		all := w.list(t, ledger.Filter{})
		if len(all) != 2 {
			t.Fatalf("%d purchases", len(all))
		}
		free, paid := all[0], all[1]
		if free.LastPayment.Note != "review copy" || free.LastPayment.Source != ledger.FromOperator {
			t.Errorf("given: %+v", free)
		}
		if paid.Payments != 2 || paid.LastPayment.Paid.String() != "5.00 USD" || !slices.Equal(paid.LastPayment.PaymentIDs, []string{"pay_more"}) {
			t.Errorf("paid: %+v", paid)
		}
		if want := start.Add(60 * day); !paid.EndsAt.Equal(want) || !paid.LastPayment.PaidAt.Equal(start.Add(day)) {
			t.Errorf("times: %+v", paid)
		}
	})
}

func TestListOfALargeLedger(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		ledger.Fill(t, w.Ledger, 2500)
		seen := make(map[string]bool)
		last := time.Now().AddDate(100, 0, 0)
		for _, listed := range w.list(t, ledger.Filter{}) {
			if seen[listed.ID] || listed.LastPayment.PaidAt.After(last) {
				t.Fatalf("%s is repeated or out of order", listed.ID)
			}
			seen[listed.ID], last = true, listed.LastPayment.PaidAt
		}
		if len(seen) != 2500 {
			t.Errorf("%d of 2500", len(seen))
		}
		if refunded := w.list(t, ledger.Filter{Status: ledger.Refunded}); len(refunded) != 25 {
			t.Errorf("%d refunded of 25", len(refunded))
		}
	})
}

func TestListStopsWithItsContext(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		w.pay(t, payment("a"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.List(ctx, ledger.Filter{}); err == nil {
			t.Error("listed after the end")
		}
	})
}

func TestQueriesNamePurchases(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		id := w.pay(t, payment("cs_1", "pay_1", "pi_1"))
		w.pay(t, payment("cs_2"))
		for text, want := range map[string]string{
			id: "cs_1", id[:10]: "cs_1", strings.ToUpper(id[:10]): "cs_1", " " + id[:10] + "\n": "cs_1", "cs_1": "cs_1", "pay_1": "cs_1",
			"pi_1": "cs_1", "cs_2": "cs_2", "pay_cs_2": "cs_2", "": "cs_2 cs_1", "cs_": "", "%": "", "pay_%": "", id + "0": "",
		} {
			if got := w.sessions(t, ledger.Filter{Query: text}); got != want {
				t.Errorf("%q: %s; want %s", text, got, want)
			}
		}
	})
}

func TestDetails(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		first := payment("base", "pay_1")
		first.Metadata = map[string]string{"order": "7"}
		id := w.payAt(t, 0, first)
		w.payAt(t, day, extension("more", "base"))
		w.payAt(t, day+time.Minute, payment("base", "pay_again"))
		w.tellAt(t, 2*day, event(ledger.EventDisputed, "", "pay_more", "ch_more"))
		w.tellAt(t, 3*day, event(ledger.EventDisputeWon, "more"))
		for _, kind := range []ledger.DecisionKind{ledger.Revoke, ledger.Restore} {
			must(t, errorOf(w.Decide(t.Context(), id, kind, "by "+string(kind))))
		}
		for _, device := range []string{"d1", "d2"} {
			must(t, w.AddDevice(t.Context(), id, ledger.Device{ID: device, Label: "Firefox"}))
		}
		must(t, w.RemoveDevice(t.Context(), id, "d1"))
		must(t, w.Claim(t.Context(), id, ledger.Device{ID: "d2"}))
		d, err := w.Details(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if d.ID != id || d.Status != ledger.Active || len(d.Payments) != 2 || d.Payments[0].Metadata["order"] != "7" || d.Payments[0].Terms.Pass != "premium" {
			t.Errorf("payments: %+v", d)
		}
		if !slices.Equal(d.DoubleCharges, []string{"pay_again"}) {
			t.Errorf("double charges: %v", d.DoubleCharges)
		}
		if len(d.Events) != 2 || d.Events[0].Kind != ledger.EventDisputed || !slices.Equal(d.Events[0].PaymentIDs, []string{"ch_more", "pay_more"}) || d.Events[1].SessionID != "more" {
			t.Errorf("events: %+v", d.Events)
		}
		if len(d.Decisions) != 2 || d.Decisions[1].Kind != ledger.Restore || d.Decisions[0].Note != "by revoked" {
			t.Errorf("decisions: %+v", d.Decisions)
		}
		if len(d.Devices) != 2 || d.Devices[0].RemovedAt.IsZero() || !d.Devices[1].RemovedAt.IsZero() || !d.Devices[1].Claimed {
			t.Errorf("devices: %+v", d.Devices)
		}
		_, err = w.Details(t.Context(), strings.Repeat("0", 32))
		wantError(t, "an unknown purchase", err, ledger.ErrNotFound)
	})
}

func TestQueriesUseIndexes(t *testing.T) {
	t.Parallel()
	plans, err := newWorld(t, onSQLite).Plans(t.Context())
	must(t, err)
	// These have one row, are all read, or are what a subquery found by an index.
	mayScan := map[string]bool{
		"i": true, "f": true, "c": true, "feed": true, "installation": true, "CONSTANT": true, "sold": true, "s": true,
		"t": true, "a": true, "h": true, "m": true, "charges": true, "page": true, "named": true,
	}
	for name, plan := range plans {
		for line := range strings.Lines(plan) {
			scanned, isScan := strings.CutPrefix(strings.TrimSpace(line), "SCAN ")
			table, _, _ := strings.Cut(scanned, " ")
			if isScan && !mayScan[table] {
				t.Errorf("%s: %s in\n%s", name, line, plan)
			}
		}
	}
	for name, index := range map[string]string{
		"list": "INDEX payments_by_time", "sales": "COVERING INDEX payments_by_terms",
		"returns": "INDEX events_by_time", "charged again": "INDEX payment_ids_repeated",
		"ended": "INDEX purchases_by_end", "closed": "INDEX purchases_closed",
	} {
		if !strings.Contains(plans[name], index) {
			t.Errorf("%s does not use %s:\n%s", name, index, plans[name])
		}
	}
}

func TestReport(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		const before, within, after = 0, 40 * day, 80 * day
		from, to := start.Add(31*day), start.Add(70*day)

		// Before: sold, and refunded or lost within.
		w.payAt(t, before, sold(t, "refunded later", "book", "12.50", "usd"))
		w.payAt(t, before, sold(t, "lost later", "book", "3.00", "usd"))
		// Within.
		w.payAt(t, within, sold(t, "a", "book", "12.50", "usd"))
		w.payAt(t, within, sold(t, "b", "book", "10.00", "eur"))
		w.payAt(t, within, sold(t, "c", "film", "500", "jpy"))
		w.payAt(t, within, sold(t, "d", "film", "700", "jpy"))
		w.payAt(t, within, sold(t, "won", "film", "5.00", "usd"))
		w.payAt(t, within, sold(t, "both", "film", "6.00", "usd"))
		w.payAt(t, within, underpaid(t, "wrong"))
		w.payAt(t, within, sold(t, "twice", "song", "1.00", "usd"))
		again := sold(t, "twice", "song", "1.00", "usd")
		again.PaymentIDs = []string{"pay_again"}
		w.payAt(t, within+time.Hour, again)
		given := sold(t, "given", "book", "12.50", "usd")
		given.Source = ledger.FromOperator
		w.payAt(t, within, given)
		// After.
		w.payAt(t, after, sold(t, "late", "book", "12.50", "usd"))

		w.tellAt(t, within, event(ledger.EventRefunded, "refunded later"))
		w.tellAt(t, within+day, event(ledger.EventRefunded, "", "pay_refunded later")) // again, by its id
		w.tellAt(t, within, event(ledger.EventDisputed, "", "pay_lost later"))
		w.tellAt(t, within+day, event(ledger.EventDisputeLost, "lost later"))
		w.tellAt(t, within, event(ledger.EventDisputed, "won"))
		w.tellAt(t, within+day, event(ledger.EventDisputeWon, "won"))
		w.tellAt(t, within, event(ledger.EventRefunded, "both"))
		w.tellAt(t, within+day, event(ledger.EventDisputeLost, "both")) // it was refunded already
		w.tellAt(t, after, event(ledger.EventRefunded, "a"))
		w.tellAt(t, within, event(ledger.EventRefunded, "wrong"))
		w.tellAt(t, within+2*time.Hour, event(ledger.EventRefunded, "twice", "pay_again")) // only the second charge
		w.tellAt(t, within, event(ledger.EventRefunded, "of nobody"))

		report, err := w.Report(t.Context(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"book eur: 1 1000, 0 0, 0 0, 0 0",
			"book usd: 1 1250, 1 1250, 1 300, 1 300",
			"film jpy: 2 1200, 0 0, 0 0, 0 0",
			"film usd: 2 1100, 1 600, 1 500, 0 0",
			"song usd: 1 100, 0 0, 0 0, 0 0",
		}
		if got := linesOf(report); !slices.Equal(got, want) {
			t.Errorf("lines:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if report.Mismatched != 1 || report.DoubleCharges != 1 {
			t.Errorf("%d mismatched, %d double charges", report.Mismatched, report.DoubleCharges)
		}
		all, err := w.Report(t.Context(), time.Time{}, time.Time{})
		if err != nil || !slices.Contains(linesOf(all), "book usd: 4 4050, 2 2500, 1 300, 1 300") {
			t.Errorf("without bounds: %v, %v", linesOf(all), err)
		}
		none, err := w.Report(t.Context(), start.Add(-2*day), start.Add(-day))
		if err != nil || len(none.Lines) != 0 || none.Mismatched+none.DoubleCharges != 0 {
			t.Errorf("of an empty time: %+v, %v", none, err)
		}
	})
}

func linesOf(r ledger.Report) []string {
	var lines []string
	for _, l := range r.Lines {
		lines = append(lines, fmt.Sprintf("%s %s: %d %d, %d %d, %d %d, %d %d", l.Product, l.Currency,
			l.Sales.Count, l.Sales.Minor, l.Refunds.Count, l.Refunds.Minor,
			l.Disputes.Count, l.Disputes.Minor, l.DisputesLost.Count, l.DisputesLost.Minor))
	}
	return lines
}
