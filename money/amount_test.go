package money

import (
	"encoding/json"
	"testing"
)

func TestAnAmountComesThroughJSONAsItWas(t *testing.T) {
	for _, text := range []string{"0", "5", "19.99", "0.005", "123456789012.12345678"} {
		amount, err := ParseAmount(text)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(struct{ Amount Amount }{amount})
		if err != nil {
			t.Fatal(err)
		}
		var back struct{ Amount Amount }
		if err := json.Unmarshal(raw, &back); err != nil || back.Amount.Compare(amount) != 0 || back.Amount.String() != text {
			t.Errorf("%s became %s, %v", text, raw, err)
		}
	}
	if _, err := ParseAmount("five"); err == nil {
		t.Error("a word is an amount")
	}
	five, three := mustParse(t, "5", "usd").Amount, mustParse(t, "3", "usd").Amount
	if sum, rest := five.Add(three), five.Sub(three); sum.String() != "8" || rest.String() != "2" || rest.InexactFloat64() != 2 {
		t.Errorf("5 + 3 = %s, 5 - 3 = %s", sum, rest)
	}
}
