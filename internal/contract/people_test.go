package contract

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/pagetest"
)

// Test cards of Axra.
const (
	cardGood     = "4242 4242 4242 4242"
	cardDeclined = "4000 0000 0000 0002"
)

// payByForm does what a person does at the address of a checkout.
func payByForm(t *testing.T, checkout, card string) {
	t.Helper()
	response, err := http.Get(checkout)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	action, fields := pagetest.Form(t, string(page), "Pay ")
	for name, value := range map[string]string{"number": card, "expiry": "12/39", "cvv": "123"} {
		if !fields.Has(name) {
			t.Fatalf("the form does not ask for %q", name)
		}
		fields.Set(name, value)
	}
	target, err := response.Request.URL.Parse(action)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target.String(), strings.NewReader(fields.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Origin", target.Scheme+"://"+target.Host)
	// Back at the site the payer is nobody whom it knows: not followed.
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode >= 500 || card == cardGood && answer.StatusCode != http.StatusSeeOther {
		t.Fatalf("paying: %s", answer.Status)
	}
}
