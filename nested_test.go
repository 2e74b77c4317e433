package paywall_test

import (
	"strings"
	"testing"
)

func gateBehindGate(inner string) string {
	return strings.Replace(fiveLines, "\troot ROOT", "\taxra_paywall /premium/gold/* {\n"+inner+"\n }\n\troot ROOT", 1)
}

const goldPage = "/premium/gold/a.html"

// A gate that does not cover a request says nothing else about it than the one before that
// has let it through.
func TestNestedPlaceholdersSpeakOfTheGateThatWasPassed(t *testing.T) {
	config := gateBehindGate("pass gold\n price 50 usd")
	config = strings.Replace(config, "\troot ROOT", "\t@paid axra_paid\n\troute {\n\t\trespond @paid \"paid [{http.axra.paid}|{http.axra.pass}]\"\n\t\trespond \"free [{http.axra.paid}|{http.axra.pass}]\"\n\t}\n\troot ROOT", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	v, stranger := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood)
	v.buy("/premium/gold/a.html", cardGood)
	for _, c := range []struct {
		visitor    *visitor
		path, want string
	}{
		{v, "/premium/article.html", "paid [true|/premium/*]"},
		{v, "/premium/gold/a.html", "paid [true|gold]"},
		{v, "/free", "paid [false|]"}, // who has paid, on a page that nobody has to pay for
		{stranger, "/free", "free [false|]"},
	} {
		if answer := c.visitor.open(c.path); answer.body != c.want {
			t.Errorf("%s: %d %q, not %q", c.path, answer.status, answer.body, c.want)
		}
	}
}

// The owner is told, and not where one payment opens both.
func TestNestedGatesAreWarnedAbout(t *testing.T) {
	const warning = "a visitor has to pay twice"
	for name, test := range map[string]struct {
		config string
		warned bool
	}{
		"nested":   {gateBehindGate("pass gold\n price 50 usd"), true},
		"one pass": {gateBehindGate("price 5 usd\n access 30d\n pass /premium/*"), false},
		"beside":   {strings.Replace(gateBehindGate("pass gold\n price 50 usd"), "/premium/gold/*", "/gold/*", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{Caddyfile: test.config})
			if log := w.log(); strings.Contains(log, warning) != test.warned {
				t.Errorf("warned %t", !test.warned)
			}
		})
	}
}
