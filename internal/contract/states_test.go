package contract

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

// overTime are the states that only time brings.
var overTime = []string{"unpaid", "expired"}

// TestEveryStateThatIsDescribed goes to each of them, but for those of overTime;
// which there are is read from the description.
func TestEveryStateThatIsDescribed(t *testing.T) {
	p := newProgram(t)
	reached := slices.Clone(overTime)
	for _, test := range []struct {
		state string
		card  string
		then  []string              // what happens to the payment
		event func(checkout) []byte // what Axra says in place of a payment
		call  string                // what the operator does
	}{
		{state: "waiting"},
		{state: "failed", card: cardDeclined},
		{state: "disputed", card: cardGood, then: []string{"dispute"}},
		{state: "refunded", card: cardGood, then: []string{"dispute", "lose"}},
		{state: "paid", card: cardGood, then: []string{"dispute", "win"}},
		{state: "refunded", card: cardGood, then: []string{"refund"}},
		{state: "revoked", card: cardGood, call: "revoke"},
		{state: "processing", event: func(c checkout) []byte { return p.event("collection.processing", c, "12.50") }},
		{state: "mismatched", event: func(c checkout) []byte { return p.event("payment.completed", c, "0.50") }},
	} {
		c := p.start("/downloads/field-guide.txt?axra_checkout")
		if test.card != "" {
			payment := p.pay(c, test.card)
			for _, action := range test.then {
				p.Control("payments/"+payment+"/"+action, "")
			}
		}
		if test.event != nil {
			p.Control("events", string(test.event(c)))
		}
		if test.call != "" {
			p.await(c, "paid")
			p.Operate(test.call, `{"purchase":"`+c.Session+`"}`)
		}
		p.await(c, test.state)
		reached = append(reached, test.state)
	}
	schemas := readDescription(t).Components.Schemas
	for _, state := range append(schemas["OtherStatus"].Value.Properties["state"].Value.Enum, "paid") {
		if name, _ := state.(string); !slices.Contains(reached, name) {
			t.Errorf("%v is described, and never came", state)
		}
	}
}

// event is one about the checkout, for the sandbox to sign and send.
func (p *program) event(name string, c checkout, amount json.Number) []byte {
	p.t.Helper()
	var session struct{ Metadata map[string]string }
	p.State("sessions/"+c.Session, &session)
	body, err := json.Marshal(map[string]any{"body": map[string]any{
		"event": name, "timestamp": time.Now().UTC().Format(time.RFC3339Nano),
		"data": map[string]any{
			"paymentId": "bpay_of_" + c.Session, "sessionId": c.Session, "amount": amount, "currency": c.Currency,
			"metadata": session.Metadata,
		},
	}})
	if err != nil {
		p.t.Fatal(err)
	}
	return body
}
