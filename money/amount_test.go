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
}
