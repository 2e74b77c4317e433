package contract

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// Test cards of Axra.
const (
	cardGood     = "4242 4242 4242 4242"
	cardDeclined = "4000 0000 0000 0002"
)

// payByForm does what a person does at the address of a checkout.
func payByForm(t *testing.T, checkout, card string) {
	t.Helper()
	response, err := plain.Get(checkout)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	page, err := html.Parse(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	action, fields := findForm(page, "Pay ")
	if fields == nil {
		t.Fatalf("%d at %s, and no form to pay by", response.StatusCode, checkout)
	}
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
	answer, err := plain.Transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode >= 500 || card == cardGood && answer.StatusCode != http.StatusSeeOther {
		t.Fatalf("paying: %s", answer.Status)
	}
}

// findForm finds the form with the button.
func findForm(page *html.Node, button string) (action string, fields url.Values) {
	for form := range page.Descendants() {
		if form.Data != "form" {
			continue
		}
		values, found := url.Values{}, false
		for node := range form.Descendants() {
			switch node.Data {
			case "input":
				values.Set(attribute(node, "name"), attribute(node, "value"))
			case "button":
				found = found || strings.HasPrefix(text(node), button)
			}
		}
		if found {
			return attribute(form, "action"), values
		}
	}
	return "", nil
}

func attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func text(node *html.Node) string {
	var out strings.Builder
	for child := range node.Descendants() {
		if child.Type == html.TextNode {
			out.WriteString(child.Data)
		}
	}
	return strings.TrimSpace(out.String())
}
