package payments_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/payments"
	"github.com/caddy-axra/paywall/ledger"
)

// Caddy logs the data of events as JSON. A session's id is a credential, so the log has it shortened.
func TestIDsOfEventsAreShortInJSON(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	var logged []byte
	d.Publish = func(_ string, data map[string]any) {
		var err error
		if logged, err = json.Marshal(data); err != nil {
			t.Error(err)
		}
	}
	d.Reject(ledger.Payment{SessionID: "cs_0123456789abcdef", PaymentIDs: []string{"bpay_0123456789abcdef"}}, payments.ReasonAmount)
	for _, want := range []string{`"session":"cs_012345678…"`, `"payment":"bpay_0123456…"`, `"reason":"amount"`, `"until":""`} {
		if !strings.Contains(string(logged), want) {
			t.Errorf("%s is not in %s", want, logged)
		}
	}
}
