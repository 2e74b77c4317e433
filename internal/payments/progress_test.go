package payments_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/payments"
	"github.com/caddy-axra/paywall/session"
)

// S6: what a visitor who waits is told, whatever the order in which events come.
func TestS6ProgressOfASessionThatIsNotPaid(t *testing.T) {
	t.Parallel()
	open := session.Pending{Session: "cs_1"}
	returned := session.Pending{Session: "cs_1", State: session.Returned, ReturnedAt: clock}
	type said struct {
		name  string
		after time.Duration // the return
	}
	for name, c := range map[string]struct {
		events []said
		entry  session.Pending
		stage  payments.Stage
	}{
		"nothing":                               {nil, open, ""},
		"failed":                                {[]said{{"payment.failed", 0}}, open, payments.Failed},
		"a collection that expired":             {[]said{{"collection.expired", 0}}, open, payments.Failed},
		"on its way":                            {[]said{{"collection.created", 0}}, open, payments.Processing},
		"failed, then on its way":               {[]said{{"payment.failed", 0}, {"collection.processing", time.Second}}, open, payments.Processing},
		"the same in another order":             {[]said{{"collection.processing", time.Second}, {"payment.failed", 0}}, open, payments.Processing},
		"failed before the return":              {[]said{{"payment.failed", -time.Second}}, returned, ""},
		"failed at the return":                  {[]said{{"payment.failed", 0}}, returned, ""},
		"failed after the return":               {[]said{{"payment.failed", time.Second}}, returned, payments.Failed},
		"on its way before the return":          {[]said{{"collection.processing", -time.Second}}, returned, payments.Processing},
		"paid":                                  {[]said{{"collection.processing", 0}, {"payment.completed", 0}}, returned, ""},
		"of another session, or of none at all": {[]said{{"payment.failed", 0}}, session.Pending{Session: "cs_2"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			for _, e := range c.events {
				body := strings.Replace(event(e.name, nil), clock.Format(time.RFC3339), clock.Add(e.after).Format(time.RFC3339), 1)
				if _, err := d.take(body); err != nil {
					t.Fatal(err)
				}
			}
			if stage := d.Progress.Of(c.entry); stage != c.stage {
				t.Errorf("stage %q, want %q", stage, c.stage)
			}
		})
	}
}

func TestProgressWithoutATimeCountsFromNow(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	if _, err := d.take(`{"event":"payment.failed","data":{"metadata":{"sessionId":"cs_1"}}}`); err != nil {
		t.Fatal(err)
	}
	if stage := d.Progress.Of(session.Pending{Session: "cs_1", State: session.Returned, ReturnedAt: clock.Add(-time.Second)}); stage != payments.Failed {
		t.Errorf("stage %q", stage)
	}
}
